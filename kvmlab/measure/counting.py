"""The meters of a whole measurement: set once, turned from card to card, and proven."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from kvmlab.measure.meters import Meters
from kvmlab.measure.selfcheck import self_check
from kvmlab.measure.subject import Subject
from kvmlab.measure.uncounted import is_counted

if TYPE_CHECKING:
    from kvmlab.changes import Nic
    from kvmlab.domain import TestVM
    from kvmlab.hosts import Host


class Counting:
    """One set of meters for every turn of every scheme; a context manager that removes them.

    ``full`` is `Trials.full_costs` of the trials to come.
    """

    def __init__(self, host: Host, vm: TestVM, *, full: bool) -> None:
        self._host, self._vm, self._full = host, vm, full
        self._meters: Meters | None = None
        self._proofs: dict[str, dict[str, Any]] = {}

    def turn_to(self, nic: Nic) -> tuple[Subject, Meters]:
        """The subject of a turn, and the meters, from now on of this interface."""
        subject = Subject(self._host, self._vm, nic, self._vm.threads())
        if self._meters is None:
            self._meters = Meters(subject)
        else:
            self._meters.turn_to(subject)
        return subject, self._meters

    def proof(self, subject: Subject, meters: Meters) -> dict[str, Any]:
        """What the counters saw of what was provoked: once for each place that counts packets.

        The others are the same counters of the same virtual CPUs whatever card is plugged in.

        Raises:
            MeasureError: a counter stayed at zero.
        """
        if not is_counted(subject):
            return {}
        if meters.counted_at not in self._proofs:
            self._proofs[meters.counted_at] = self_check(subject, meters, full=self._full)
        return self._proofs[meters.counted_at]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._meters is not None:
            self._meters.finish()
