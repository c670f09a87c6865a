"""An open host: its connection, its test VM, the facts read of it, and how it is closed."""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from kvmlab.changes import in_place, leftovers
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
from kvmlab.facts import LinkState, inspect
from kvmlab.hosts import Host, SshTarget, parse_login

if TYPE_CHECKING:
    from kvmlab.facts import HostFacts


class HostSession:
    """An open host with its test VM, closed by `close` or at the program's end.

    ``guest`` is the way into a VM without guest agent, ``lease`` that of an embedded host.
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
        self.lease = lease
        self.vm_name = vm_name
        #: The last inspection, whatever has changed since.
        self.last_facts: HostFacts | None = None
        self._changes_at_inspection: tuple[int, ...] = ()
        self._guest = guest
        self._guest_connection: SshGuest | None = None
        self._vm: TestVM | None = None
        self._closed = False
        atexit.register(self.close)

    @property
    def vm(self) -> TestVM:
        """The running test VM; the lab's own is created where changes are allowed."""
        if self._vm is None:
            with self.watched():
                self._vm = (
                    TestVM.ensure(self.host)
                    if self.vm_name == LAB_VM_NAME and self.host.allows_changes
                    else TestVM.find(self.host, self.vm_name)
                )
                if self._guest is not None:
                    self._guest_connection = self._vm.agent = SshGuest(self._vm, self._guest)
        return self._vm

    @property
    def vm_if_running(self) -> TestVM | None:
        """The test VM where it runs already; None elsewhere. An embedded host's always runs."""
        if self.lease is not None or self._vm is not None:
            return self.vm
        try:
            vm = TestVM.find(self.host, self.vm_name)
        except (DomainNotFound, HostError, Unavailable):
            return None
        return vm if vm.state == "running" else None

    @property
    def vm_for_plans(self) -> TestVM | None:
        """The test VM; None where the lab's own does not exist and may not be created yet."""
        if self.host.allows_changes or self.vm_name != LAB_VM_NAME:
            return self.vm
        try:
            return self.vm
        except DomainNotFound:
            return None

    @property
    def facts(self) -> HostFacts:
        """The last inspection, or a new one where the lab's changes are others than then."""
        facts = self.last_facts
        if facts is None or self._changes_at_inspection != in_place(self.host):
            return self.inspect()
        return self.inspect() if self._lost_link(facts) else facts

    @property
    def facts_now(self) -> HostFacts:
        """As `facts`, and always a new inspection where others may have changed the host."""
        return self.inspect() if self.host.is_shared else self.facts

    def inspect(self) -> HostFacts:
        """Read the host anew; change nothing."""
        with self.watched():
            facts = inspect(self.host)
            # On the embedded host the next change puts back what a dead run left, unasked.
            remains = leftovers(self.host) if self.host.is_shared else ()
            facts = replace(facts, leftovers=tuple(leftover.what for leftover in remains))
            self.last_facts = facts
            self._changes_at_inspection = in_place(self.host)
        return facts

    def _lost_link(self, facts: HostFacts) -> bool:
        """Return whether the cable's port had no link, as a port has just after a revert."""
        cable = self.host.cable
        return cable is not None and any(
            port.link is LinkState.NO_CARRIER for port in facts.ports if cable.port in port.names
        )

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Replace a broken connection to a dead embedded host by the reason of its death.

        Raises:
            MachineDied: the embedded host ended; the evidence is the end of its console.
        """
        try:
            yield
        except (HostUnreachable, LibvirtFailed):
            if self.lease is not None:
                self.lease.check()
            raise

    def close(self) -> None:
        """Close the connections and give the host back. Twice is no error."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        try:
            if self._guest_connection is not None:
                self._guest_connection.close()
            self.host.close()
        finally:
            if self.lease is not None:
                # Its next user gets it from the saved state.
                self.lease.release(clean=False)


def parse_vm(text: str) -> tuple[str, SshTarget | None]:
    """Return the libvirt name of a VM, and its ssh login where one is given.

    >>> parse_vm("web-test=ssh://root@192.0.2.7")[1].shown
    'root@192.0.2.7'

    Raises:
        UsageError: ``text`` is neither a name nor a name and a login.
    """
    name, separator, login = text.partition("=ssh://")
    if not name or name != name.strip() or "/" in name or not name.isprintable():
        raise UsageError(
            f"{text!r} cannot be the name of a VM.",
            todo="`virsh list --all` lists those there are; a VM without guest agent is named "
            "NAME=ssh://root@ADDRESS.",
        )
    return name, parse_login(f"ssh://{login}") if separator else None
