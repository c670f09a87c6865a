"""One host: a command runner, a libvirt connection and what is known about the machine."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from kvmlab.clock import Clock
from kvmlab.errors import Refused
from kvmlab.hosts import libvirt_door
from kvmlab.hosts.local import LocalRunner
from kvmlab.hosts.runner import Runner
from kvmlab.hosts.ssh import SshRunner
from kvmlab.hosts.target import SshTarget
from kvmlab.hosts.uri import HostKind, libvirt_ssh_uri, parse_uri
from kvmlab.hosts.wire import Wire
from kvmlab.process import Completed

if TYPE_CHECKING:
    import libvirt

#: Kinds of host that may serve others, on which every change needs an explicit yes.
_ASKED: Final = (HostKind.LOCAL, HostKind.SSH)


class Host:
    """A machine that runs VMs. ``emulated`` says how, where it is not real hardware."""

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
        wire: Wire | None = None,
        more_wires: tuple[Wire, ...] = (),
        allows_changes: bool | None = None,
        deadline_sec: float = 10.0,
    ) -> None:
        self.spec = spec
        self.kind = kind
        self.label = label
        self.runner = runner
        self.libvirt_uri = libvirt_uri
        self.clock = clock
        self.emulated = emulated
        self.wire = wire
        #: Somebody said yes to changes; the embedded host is nobody else's and needs no yes.
        self.allows_changes = kind not in _ASKED if allows_changes is None else allows_changes
        # The process on this machine that is the host, where it is an emulated one of ours.
        self.emulator_pid: int | None = None
        self._more_wires = more_wires
        self._deadline_sec = deadline_sec
        self._connection: libvirt.virConnect | None = None
        self._opening = threading.Lock()
        self._peers: dict[SshTarget, SshRunner] = {}

    @property
    def wires(self) -> tuple[Wire, ...]:
        """All cables for tests: `wire` first, then those of ports that only some schemes use."""
        return tuple(wire for wire in (self.wire, *self._more_wires) if wire is not None)

    @property
    def is_shared(self) -> bool:
        """Others may work on it too: this machine, or one that is reached by ssh."""
        return self.kind in _ASKED

    def must_allow_changes(self, what: str) -> None:
        """Stop unless somebody said yes; ``what`` completes "Nobody said yes to …".

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
                :func:`kvmlab.hosts.libvirt_door.open_connection`.
        """
        with self._opening:
            if self._connection is not None and not libvirt_door.is_alive(self._connection):
                libvirt_door.close_connection(self._connection)
                self._connection = None
            if self._connection is None:
                self._connection = libvirt_door.open_connection(
                    self.libvirt_uri, host=self.label, deadline_sec=self._deadline_sec
                )
            return self._connection

    def peer(self, wire: Wire) -> Runner | None:
        """The machine at the other end of ``wire``, where ssh reaches it from here; else None.

        The connection is opened when it is first asked for, and again when it was lost.

        Raises:
            HostUnreachable: no answer in time.
            HostRefused: the host key or the login was refused.
        """
        target = wire.peer_ssh
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
                libvirt_door.close_connection(connection)
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
    wire: Wire | None = None,
    more_wires: tuple[Wire, ...] = (),
    allows_changes: bool | None = None,
    deadline_sec: float = 10.0,
) -> Host:
    """Open the host that ``spec`` names: ``qemu:///system`` or ``qemu+ssh://user@host/system``.

    The ssh connection is opened now, libvirt's when it is first used. ``ssh`` says more about
    the way there (key, pinned host key) than a URI can. ``allows_changes`` is somebody's yes to
    changes there; left out, only the embedded host may be changed. ``deadline_sec`` holds for
    each of the two connections.

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
        wire=wire,
        more_wires=more_wires,
        allows_changes=allows_changes,
        deadline_sec=deadline_sec,
    )
