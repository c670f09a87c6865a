"""The second host: another KVM host inside the embedded one, under the same virtual clock."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Final

from kvmlab.changes import keep_port
from kvmlab.changes.change import AppliedSteps
from kvmlab.changes.guard import check, refuse
from kvmlab.changes.migration_step import MigrateVm
from kvmlab.changes.migration_undo import bring_home
from kvmlab.changes.second_host import FOLDER, SecondHostPorts, second_host_step
from kvmlab.domain import TestVM
from kvmlab.errors import DomainNotFound, Unavailable, UsageError
from kvmlab.facts import inspect
from kvmlab.hosts import Host, HostKind, libvirt_client, open_second_host
from kvmlab.schemes.port import free_port

if TYPE_CHECKING:
    from kvmlab.changes import HostStep
    from kvmlab.facts import HostFacts
    from kvmlab.hosts import Cable

LABEL: Final = "embedded host B"


def migration_by_hand(name: str) -> MigrateVm:
    """Return the step of a migration that people may make by hand, for its undo."""
    return MigrateVm(
        what=f"Let {name} run here again, wherever it was moved by hand.",
        domain=name,
        destination=LABEL,
        second_host=True,
    )


def call_home(host: Host, name: str, definition: str) -> None:
    """Let the VM run on ``host`` again, wherever it was moved by hand.

    ``definition`` is what it is defined by, where that was taken away with it.

    Raises:
        StepFailed: it does not come home.
        HostUnreachable, HostRefused: the second host does not answer.
    """
    try:
        TestVM.find(host, name)
    except DomainNotFound:
        libvirt_client.call(
            host.libvirt.defineXMLFlags, definition, 0, what=f"define {name}", host=host.label
        )
    bring_home(migration_by_hand(name), host)


class SecondHost:
    """A second host inside the host of a VM, from `open` to `close`, or for a ``with`` block.

    ``cable`` is that of the second host: its port, which moves into it, and the same peer. ``pf``
    is a port with SR-IOV that moves into it as well, from whatever namespace it is in, and gets a
    VF. ``segment`` joins the two hosts meanwhile. A VM that is there at the end ends with it: bring
    it home first.
    """

    def __init__(
        self,
        vm: TestVM,
        facts: HostFacts,
        cable: Cable,
        *,
        pf: str = "",
        segment: AbstractContextManager[None] | None = None,
    ) -> None:
        self._vm = vm
        self._facts = facts
        self._cable = cable
        self._pf = pf
        self._segment = segment
        self._stack = ExitStack()
        self._there: Host | None = None

    def open(self) -> Host:
        """Make the second host and return it.

        Raises:
            Unavailable: the host is not the embedded one, or the port is in use.
            Refused, HostBusy, StepFailed: see :meth:`kvmlab.changes.Plan.apply`.
        """
        host = self._vm.host
        if host.kind is not HostKind.EMBEDDED:
            raise Unavailable(
                f"{host.label} is a real host: a second one is not made inside of it.",
                todo="Name another host as the destination: qemu+ssh://root@HOST/system.",
            )
        with ExitStack() as stack:
            if self._segment is not None:
                stack.enter_context(self._segment)
            change = self.apply()
            stack.callback(change.revert)
            there = open_second_host(host, FOLDER, label=LABEL, cable=self._cable)
            stack.callback(there.close)
            self._stack = stack.pop_all()
        self._there = there
        return there

    def apply(self, *, brings_vm_home: bool = False) -> AppliedSteps:
        """Make the second host; the caller reverts the change, or leaves it.

        With ``brings_vm_home`` its undo begins by that, whoever has moved the VM: for a host on
        which people work in a shell.

        Raises:
            Refused, HostBusy, StepFailed: see :meth:`kvmlab.changes.Plan.apply`.
        """
        steps = self._steps()
        refuse(check(steps, self._facts, self._vm))
        last = (migration_by_hand(self._vm.name),) if brings_vm_home else ()
        change = AppliedSteps(self._vm, (*steps, *last), scheme="second-host")
        change.apply()
        return change

    def inspect(self) -> HostFacts:
        """Read the second host; change nothing.

        Raises:
            UsageError: it is not open.
        """
        if self._there is None:
            raise UsageError("The second host is not open.", todo="Open it: second.open().")
        return inspect(self._there, prove_kvm=False)

    def _steps(self) -> tuple[HostStep, ...]:
        free_port(self._facts, self._cable.port)
        if not self._pf:
            return (second_host_step(SecondHostPorts(self._cable.port)),)
        function = self._facts.port(self._pf)
        ports = SecondHostPorts(self._cable.port, self._pf, function.address)
        return (keep_port(self._facts, function), second_host_step(ports))

    def close(self) -> None:
        """Remove the second host, with the VMs in it. Twice is no error.

        Raises:
            RevertFailed: see :meth:`kvmlab.changes.change.AppliedSteps.revert`.
        """
        self._there = None
        self._stack.close()

    def __enter__(self) -> Host:
        return self.open()

    def __exit__(self, *details: object) -> None:
        self.close()
