"""A lab: one host with its test VM and its cable, opened by one line and closed with the program.

Everything that a notebook does goes through here::

    lab = kvmlab.open_lab(HOST)
    facts = lab.inspect()
    plan = lab.plan(kvmlab.Virtio())
    with plan.applied(lab.vm) as nic:
        result = lab.measure(nic, kvmlab.Trials(count=3))
    lab.keep(result)
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kvmlab.embedded import Lease
from kvmlab.hosts import Host, SshTarget
from kvmlab.lab.ahead import load_ahead
from kvmlab.lab.cards import CARDS
from kvmlab.lab.keeping import Keeping, Kept
from kvmlab.lab.open_host import OpenHost
from kvmlab.lab.trying import (
    must_reach_the_peer,
    one_path,
    path_of_last,
    reached,
    short_settings,
    short_trials,
    traced,
)
from kvmlab.results import Journal, Reach, Result
from kvmlab.schemes import Scheme
from kvmlab.schemes.catalogue import Attempt, attempt

if TYPE_CHECKING:
    from kvmlab.changes import Nic, Plan
    from kvmlab.measure import OnProgress, Trials
    from kvmlab.widgets import TrialPanel


class Lab(OpenHost):
    """An open host with its test VM. Use :func:`open_lab`; close it, or let the program's end do.

    ``host`` runs commands and holds libvirt, ``how`` says how the host came to be.
    """

    def __init__(
        self,
        host: Host,
        *,
        vm_name: str,
        out: Path,
        guest: SshTarget | None = None,
        lease: Lease | None = None,
    ) -> None:
        super().__init__(host, vm_name=vm_name, guest=guest, lease=lease)
        self._keeping = Keeping(out)

    def plan(self, scheme: Scheme) -> Plan:
        """Everything that ``scheme`` would change on this host and in the VM; changes nothing.

        Raises:
            Unavailable: this host cannot do that.
        """
        with self._watched():
            return scheme.plan(self.facts, vm=self._vm_to_plan_for())

    def trace(self, nic: Nic) -> Result:
        """Follow one ping through the host: a result without trials that holds the path.

        Raises:
            MeasureError: the path cannot be traced.
        """
        with self._watched():
            return traced(self.host, self.vm, nic)

    def reach(self, nic: Nic, *, guest_mac: str = "") -> Reach:
        """Ping between VM, peer and host; the host gets an address for it, and loses it again.

        With ``guest_mac`` the VM uses that MAC meanwhile in place of its own.

        Raises:
            Unavailable: no device of the host lies on the way of the VM's packets.
            ChangeError: the address could not be given, or not taken away.
        """
        with self._watched():
            return reached(self.host, self.vm, nic, guest_mac, self._facts_now())

    def attempt(self, scheme: Scheme) -> Attempt:
        """The plan of a scheme, or why this host cannot do it: for what is to be refused."""
        with self._watched():
            return attempt(scheme, self.facts)

    def measure(self, nic: Nic, trials: Trials) -> Result:
        """Run the trials on an interface that is in place.

        Raises:
            MeasureError: a trial failed, or a counter cannot be trusted.
        """
        from kvmlab.measure import measure
        from kvmlab.widgets import Ticker

        with self._watched(), Ticker() as ticker, self._journal([nic.label], trials) as journal:
            result = measure(self.host, self.vm, nic, trials, progress=ticker.show, journal=journal)
            return self._keeping.measured(journal, result)[0]

    def baseline(self, trials: Trials) -> Result:
        """The port under test against the peer, with no VM between: this host's bare metal.

        Raises:
            ChangeError: the port could not be given an address, or could not be put back.
            MeasureError: a run failed.
        """
        from kvmlab.changes.bare import addressed
        from kvmlab.measure import measure_baseline
        from kvmlab.measure.baseline import LABEL

        with (
            self._watched(),
            addressed(self.inspect(), self.wire, self.vm),
            self._journal([LABEL], trials) as journal,
        ):
            result = measure_baseline(self.host, trials, journal=journal)
            return self._keeping.measured(journal, result)[0]

    def compare(self, *plans: Plan, trials: Trials) -> tuple[Result, ...]:
        """Apply the plans in turn, block by block, and measure each: one result a plan.

        The trials of the schemes are interleaved, so that whatever else the machine does in the
        meantime meets all of them.

        Raises:
            ChangeError: a plan could not be applied or put back.
            MeasureError: a trial failed, or a counter cannot be trusted.
        """
        from kvmlab.changes import prepared
        from kvmlab.measure import interleaved
        from kvmlab.widgets import Ticker

        applied = {plan.label: functools.partial(plan.applied, self.vm) for plan in plans}
        with (
            self._watched(),
            prepared(*plans, vm=self.vm),
            Ticker() as ticker,
            self._journal(list(applied), trials) as journal,
        ):
            results = interleaved(
                applied, self.host, self.vm, trials, progress=ticker.show, journal=journal
            )
            return self._keeping.measured(journal, *results)

    def compare_channels(self, plan: Plan, *used: int, trials: Trials) -> tuple[Result, ...]:
        """Apply a plan with several queue pairs once, and let the VM use more and more of them.

        One result for each of ``used``, interleaved as in :meth:`compare`; left out, 1, 2, 4 … up
        to all that the card has.

        Raises:
            UsageError: the card has only one, or fewer than were asked for.
            ChangeError: the plan could not be applied or put back.
            MeasureError: a trial failed, or a counter cannot be trusted.
        """
        from kvmlab.lab.stepping import doubling, stepped
        from kvmlab.measure import interleaved
        from kvmlab.widgets import Ticker

        with self._watched(), plan.applied(self.vm) as nic, Ticker() as ticker:
            ways = stepped(self.vm, nic, used or doubling(nic.queues))
            with self._journal(list(ways), trials) as journal:
                results = interleaved(
                    ways, self.host, self.vm, trials, progress=ticker.show, journal=journal
                )
                return self._keeping.measured(journal, *results)

    def panel(self, *measured: Result, model: str = "e1000e", seconds: int = 2) -> TrialPanel:
        """One short trial with a card, and in a browser a panel to run more with other cards.

        Given what was ``measured`` before, it begins with that in place of a trial of its own.
        ``model`` is one of the names in :data:`CARDS`; ``seconds`` is the length of a trial in the
        host's clock.

        Raises:
            UsageError: there is no such card.
            ChangeError, MeasureError: the trial failed.
        """
        from kvmlab.widgets import TrialPanel

        return TrialPanel(
            self._one_trial,
            CARDS,
            model=model,
            seconds=seconds,
            measured=measured,
            draw=short_trials,
        )

    def path_panel(self, *, model: str = "virtio") -> TrialPanel:
        """The path of one ping with a card, and in a browser a panel to see it with other cards.

        Raises: as `panel`.
        """
        from kvmlab.widgets import TrialPanel

        return TrialPanel(self._one_path, CARDS, model=model, seconds=None, draw=path_of_last)

    def _one_trial(self, scheme: Scheme, seconds: int, progress: OnProgress | None) -> Result:
        from kvmlab.measure import measure

        must_reach_the_peer(scheme)
        trials = short_settings(seconds)
        with (
            self._watched(),
            self.plan(scheme).applied(self.vm) as nic,
            self._journal([nic.label], trials) as journal,
        ):
            result = measure(self.host, self.vm, nic, trials, progress=progress, journal=journal)
            return self._keeping.measured(journal, result)[0]

    def _one_path(self, scheme: Scheme, _seconds: int, progress: OnProgress | None) -> Result:
        must_reach_the_peer(scheme)
        with self._watched(), self.plan(scheme).applied(self.vm) as nic:
            return one_path(self.host, self.vm, nic, progress)

    def keep(self, *results: Result) -> Kept:
        """Write results, with their raw output, into a folder of their own under ``out``.

        What was measured is on disk in any case, measurement by measurement; this puts results
        that belong together into one run.

        Raises:
            UsageError: there is nothing to keep, or the folder cannot be written.
        """
        return self._keeping.keep(results, self._facts)

    def _journal(
        self, schemes: Sequence[str], trials: Trials
    ) -> contextlib.AbstractContextManager[Journal]:
        load_ahead()
        return self._keeping.journal(self.host, schemes, trials, self._facts)
