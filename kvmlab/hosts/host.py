"""A host: a command runner, a libvirt connection and facts about the machine."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from kvmlab.clock import Clock
from kvmlab.errors import Refused, UsageError
from kvmlab.hosts import libvirt_client
from kvmlab.hosts.cable import Cable
from kvmlab.hosts.local import LocalRunner
from kvmlab.hosts.runner import Runner
from kvmlab.hosts.ssh import SshRunner
from kvmlab.hosts.ssh_target import SshTarget
from kvmlab.hosts.uri import HostKind, libvirt_ssh_uri, parse_uri
from kvmlab.process import Completed

if TYPE_CHECKING:
    import libvirt

#: Kinds of host that may serve others, on which every change needs an explicit yes.
_ASKED: Final = (HostKind.LOCAL, HostKind.SSH)


#: Seconds without a sign of life of a lab after which a host undoes the lab's changes by itself.
CONFIRM_WITHIN_SEC: Final = 120
_CONFIRM_MIN_SEC: Final = 10


def _checked_confirm_sec(seconds: int) -> int:
    if seconds != 0 and seconds < _CONFIRM_MIN_SEC:
        raise UsageError(
            f"A change was to be confirmed within {seconds} s.",
            todo=f"Use {_CONFIRM_MIN_SEC} or more, or 0 to switch that off.",
        )
    return seconds


class Host:
    """A machine that runs VMs; ``emulated`` describes it where it is not real hardware."""

    def __init__(
        self,
        *,
        spec: str,
        kind: HostKind,
        label: str,
        runner: Runner,
        libvirt_uri: str,
        clock: Clock = Clock.WALL,
        emulated: str | None = None,
        cable: Cable | None = None,
        more_cables: tuple[Cable, ...] = (),
        allows_changes: bool | None = None,
        deadline_sec: float = 10.0,
        confirm_within_sec: int = CONFIRM_WITHIN_SEC,
        cuts: tuple[str, ...] = (),
    ) -> None:
        self.spec = spec
        self.kind = kind
        self.label = label
        self.runner = runner
        self.libvirt_uri = libvirt_uri
        self.clock = clock
        self.emulated = emulated
        self.cable = cable
        #: Somebody said yes to changes; the embedded host is nobody else's and needs no yes.
        self.allows_changes = kind not in _ASKED if allows_changes is None else allows_changes
        #: The host undoes a change by itself that its lab has not confirmed for so long; 0: never.
        self.confirm_within_sec = _checked_confirm_sec(confirm_within_sec)
        #: Names of what changes may cut although the guard would refuse it.
        self.cuts = cuts
        # The process on this machine that is the host, where it is an emulated one of ours.
        self.emulator_pid: int | None = None
        self._more_cables = more_cables
        self._deadline_sec = deadline_sec
        self._connection: libvirt.virConnect | None = None
        self._opening = threading.Lock()
        self._peers: dict[SshTarget, SshRunner] = {}

    @property
    def cables(self) -> tuple[Cable, ...]:
        """All cables for tests: `cable` first, then those of ports that only some schemes use."""
        return tuple(cable for cable in (self.cable, *self._more_cables) if cable is not None)

    @property
    def is_shared(self) -> bool:
        """Others may work on it too: this machine, or one that is reached by ssh."""
        return self.kind in _ASKED

    def must_allow_changes(self, what: str) -> None:
        """Raise unless changes are allowed; ``what`` completes "Nobody said yes to …".

        Raises:
            Refused: nobody did; nothing was changed.
        """
        if not self.allows_changes:
            raise Refused(
                f"Nobody said yes to {what} on {self.label}. Nothing was changed.",
                rule="no-consent",
                todo="Look at the plan, then say yes: APPLY = True in a notebook, "
                "`-p APPLY=yes` for a run, `--yes` on the command line, "
                "open_lab(…, allow_changes=True) in a program.",
            )

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_sec: float,
        input_text: str | None = None,
        check: bool = True,
        root: bool = False,
    ) -> Completed:
        """Run ``argv`` on the host; see :meth:`kvmlab.hosts.Runner.run`."""
        return self.runner.run(
            argv, timeout_sec=timeout_sec, input_text=input_text, check=check, root=root
        )

    @property
    def libvirt(self) -> libvirt.virConnect:
        """The libvirt connection, opened when it is first asked for, and again when it was lost.

        Raises:
            HostUnreachable, HostRefused, Unavailable, LibvirtFailed: see
                :func:`kvmlab.hosts.libvirt_client.open_connection`.
        """
        with self._opening:
            if self._connection is not None and not libvirt_client.is_alive(self._connection):
                libvirt_client.close_connection(self._connection)
                self._connection = None
            if self._connection is None:
                self._connection = libvirt_client.open_connection(
                    self.libvirt_uri, host=self.label, deadline_sec=self._deadline_sec
                )
            return self._connection

    def peer(self, cable: Cable) -> Runner | None:
        """Return a runner for the machine at the other end of ``cable``; None without ssh to it.

        The connection is opened when it is first asked for, and again when it was lost.

        Raises:
            HostUnreachable: no answer in time.
            HostRefused: the host key or the login was refused.
        """
        target = cable.peer_ssh
        if target is None:
            return None
        with self._opening:
            runner = self._peers.get(target)
            if runner is None or not runner.is_open:
                name = f"the peer {target.shown}"
                runner = SshRunner(target, name=name, deadline_sec=self._deadline_sec)
                self._peers[target] = runner
            return runner

    def close(self) -> None:
        """Close the libvirt connection, then the ssh connections: the peers', the host's own."""
        try:
            if self._connection is not None:
                connection, self._connection = self._connection, None
                libvirt_client.close_connection(connection)
        finally:
            while self._peers:
                self._peers.popitem()[1].close()
            self.runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Host {self.label} ({self.spec})>"


def open_host(
    spec: str,
    *,
    ssh: SshTarget | None = None,
    kind: HostKind | None = None,
    label: str | None = None,
    clock: Clock = Clock.WALL,
    emulated: str | None = None,
    cable: Cable | None = None,
    more_cables: tuple[Cable, ...] = (),
    allows_changes: bool | None = None,
    deadline_sec: float = 10.0,
    confirm_within_sec: int = CONFIRM_WITHIN_SEC,
    cuts: tuple[str, ...] = (),
) -> Host:
    """Open the host that ``spec`` names: ``qemu:///system`` or ``qemu+ssh://user@host/system``.

    The ssh connection is opened now, libvirt's when it is first used. ``ssh`` says more about
    the way there (key, pinned host key) than a URI can. ``allows_changes`` is somebody's yes to
    changes there; left out, only the embedded host may be changed. ``deadline_sec`` holds for
    each of the two connections. ``confirm_within_sec`` after the last sign of life of this process
    the host undoes by itself what it has changed there; 0 switches that off. ``cuts`` names what
    changes may cut although the guard would refuse it.

    Raises:
        UsageError: ``spec`` is none of the kinds of host.
        HostUnreachable: no answer in time.
        HostRefused: the host key or the login was refused.
    """
    uri = parse_uri(spec)
    runner: Runner
    if uri.ssh is None:
        runner = LocalRunner()
        libvirt_uri = uri.text
    else:
        target = ssh or uri.ssh
        connection = SshRunner(target, name=label, deadline_sec=deadline_sec)
        libvirt_uri = libvirt_ssh_uri(target, uri.path, str(connection.wrapper))
        runner = connection
    return Host(
        spec=spec,
        kind=kind or (HostKind.LOCAL if uri.ssh is None else HostKind.SSH),
        label=label or runner.name,
        runner=runner,
        libvirt_uri=libvirt_uri,
        clock=clock,
        emulated=emulated,
        cable=cable,
        more_cables=more_cables,
        allows_changes=allows_changes,
        deadline_sec=deadline_sec,
        confirm_within_sec=confirm_within_sec,
        cuts=cuts,
    )
