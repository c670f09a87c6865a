"""An open host: its door, its test VM, its cable, what is known of it, and how it is closed."""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Iterator
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kvmlab.domain import LAB_VM_NAME, SshGuest, TestVM
from kvmlab.embedded import Lease
from kvmlab.errors import (
    DomainNotFound,
    HostError,
    HostUnreachable,
    LibvirtFailed,
    Unavailable,
    UsageError,
)
from kvmlab.hosts import Host, SshTarget, Wire

if TYPE_CHECKING:
    from kvmlab.changes.defining import Definition, Undefinition
    from kvmlab.doctor import Diagnosis
    from kvmlab.facts import HostFacts
    from kvmlab.schemes import Scheme


class OpenHost:
    """An open host with its test VM; it is closed by `close`, or at the program's end.

    ``host`` runs commands and holds libvirt, ``how`` says how the host came to be.
    """

    def __init__(
        self,
        host: Host,
        *,
        vm_name: str,
        guest: SshTarget | None = None,
        lease: Lease | None = None,
    ) -> None:
        self.host = host
        self.how = lease.how if lease is not None else ""
        self._lease = lease
        self._vm_name = vm_name
        self._guest = guest
        self._way_in: SshGuest | None = None
        self._vm: TestVM | None = None
        self._facts: HostFacts | None = None
        self._facts_with: tuple[int, ...] = ()
        self._closed = False
        atexit.register(self.close)

    @property
    def wire(self) -> Wire:
        """The cable under test.

        Raises:
            UsageError: none was given for a host that is not the embedded one.
        """
        if self.host.wire is None:
            raise UsageError(
                f"It is not known which port of {self.host.label} the lab may use.",
                todo='Give one: open_lab(…, wire=kvmlab.Wire(port="eth1", …)).',
            )
        return self.host.wire

    @property
    def vm(self) -> TestVM:
        """The test VM, running, its agent answering; made if need be, where changes are allowed."""
        if self._vm is None:
            with self._watched():
                self._vm = (
                    TestVM.ensure(self.host)
                    if self._vm_name == LAB_VM_NAME and self.host.allows_changes
                    else TestVM.find(self.host, self._vm_name)
                )
                if self._guest is not None:
                    self._way_in = self._vm.agent = SshGuest(self._vm, self._guest)
        return self._vm

    @property
    def facts(self) -> HostFacts:
        """The last inspection, or a new one where other changes of the lab's are in place now."""
        from kvmlab.changes import in_place

        last = self._facts
        if last is None or self._facts_with != in_place(self.host) or not self._at_rest(last):
            return self.inspect()
        return last

    def _at_rest(self, facts: HostFacts) -> bool:
        """Whether the cable's port was read in peace: one that was just put back has no link."""
        from kvmlab.facts import LinkState

        wire = self.host.wire
        return wire is None or not any(
            port.link is LinkState.NO_CARRIER for port in facts.ports if wire.port in port.names
        )

    def _facts_now(self) -> HostFacts:
        """What `facts` are, read anew where others may have changed the host meanwhile."""
        return self.inspect() if self.host.is_shared else self.facts

    def inspect(self) -> HostFacts:
        """Read the host anew. Changes nothing."""
        from kvmlab.changes import in_place, leftovers
        from kvmlab.facts import inspect

        with self._watched():
            facts = inspect(self.host)
            # What a run left on the embedded host is put back by the next change, unasked.
            left = leftovers(self.host) if self.host.is_shared else ()
            self._facts = replace(facts, leftovers=tuple(one.what for one in left))
            self._facts_with = in_place(self.host)
        return self._facts

    def doctor(self) -> Diagnosis:
        """Every rule about this host: what was read, the verdict, the fix. Changes nothing.

        The VM is looked into where it runs; on the embedded host it always does.
        """
        from kvmlab.doctor import examine

        with self._watched():
            return examine(self.host, facts=self.inspect(), vm=self._running_vm())

    def definition(self, scheme: Scheme) -> Definition:
        """The scheme's interface as a change of the named VM's persistent definition.

        Changes nothing; its ``write(lab.vm)`` does, to stay. The running VM goes on as it is.

        Raises:
            Refused: no VM was named, or it has no definition, or has the interface already.
            Unavailable: this host cannot do that.
        """
        from kvmlab.changes.defining import definition_of, must_be_named

        must_be_named(self._vm_name)
        with self._watched():
            return definition_of(scheme.plan(self.facts, vm=self.vm), self.vm)

    def undefinition(self) -> Undefinition:
        """What kvmlab wrote into the named VM's definition, to be taken out by ``write(lab.vm)``.

        Raises: as `definition`.
        """
        from kvmlab.changes.defining import must_be_named, undefinition_of

        must_be_named(self._vm_name)
        with self._watched():
            return undefinition_of(self.vm)

    def _running_vm(self) -> TestVM | None:
        if self._lease is not None or self._vm is not None:
            return self.vm
        try:
            found = TestVM.find(self.host, self._vm_name)
        except (DomainNotFound, HostError, Unavailable):
            return None
        return found if found.state == "running" else None

    def _vm_to_plan_for(self) -> TestVM | None:
        """The test VM; None where the lab's own is yet to be made and nobody has said yes to it."""
        if self.host.allows_changes or self._vm_name != LAB_VM_NAME:
            return self.vm
        try:
            return self.vm
        except DomainNotFound:
            return None

    def close(self) -> None:
        """Close the connections and give the host back. Twice is no error."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        try:
            if self._way_in is not None:
                self._way_in.close()
            self.host.close()
        finally:
            if self._lease is not None:
                # Whoever uses the host next gets it from its saved state.
                self._lease.release(clean=False)

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
        return f"<Lab on {self.host.label}>"

    def _repr_html_(self) -> str:
        from kvmlab.widgets import card

        return card("Lab", self.describe())

    def describe(self) -> dict[str, str]:
        """What this lab is, in lines for people."""
        lines = {"Host": self.host.label, "Clock": self.host.clock.meaning}
        if self.host.emulated:
            lines["Emulated"] = self.host.emulated
        if self.how:
            lines["Came up"] = self.how
        if self.host.wire is not None:
            wire = self.host.wire
            peer = wire.peer_ssh.shown if wire.peer_ssh is not None else wire.peer_port
            lines["Cable"] = (
                f"{wire.port} to {peer or 'the peer'}; the VM is {wire.vm_address}, the "
                f"peer {wire.peer_address}"
            )
        return lines

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """If the embedded host died, say that, with its console, and not that ssh broke."""
        try:
            yield
        except (HostUnreachable, LibvirtFailed):
            if self._lease is not None:
                self._lease.check()
            raise
