"""The step of a change that stays: a device in a domain's persistent definition, and its undo."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from kvmlab.changes.steps import Step
from kvmlab.domain import TestVM, alias_for
from kvmlab.domain.persistent import controllers_of, defined_without, is_defined, same
from kvmlab.errors import DomainNotFound

if TYPE_CHECKING:
    from kvmlab.hosts import Host


@dataclass(frozen=True)
class DefineInterface(Step):
    """Writes a device into a domain's persistent definition; its undo takes it out again.

    ``before_xml`` is that definition as it was found, without its passwords.
    """

    kind: ClassVar[str] = "define"
    domain: str
    mac: str
    interface_xml: str
    before_xml: str

    @property
    def before(self) -> str:
        """The definition has no such device."""
        return "absent"

    @property
    def after(self) -> str:
        """The definition has it."""
        return f"interface {self.mac}, from the VM's next start"

    @property
    def do_text(self) -> tuple[str, ...]:
        """Virsh's words for it; the XML is in the plan."""
        return (f"virsh attach-device {shlex.quote(self.domain)} interface.xml --config",)

    @property
    def undo_text(self) -> tuple[str, ...]:
        """Virsh's words for it."""
        alias = alias_for(self.mac)
        return (f"virsh detach-device-alias {shlex.quote(self.domain)} {alias} --config",)


def undefine_interface(step: DefineInterface, host: Host, vm: TestVM | None = None) -> bool:
    """Take a device out of the persistent definition; False where it was not there.

    The definition is then as it was found, where nobody else has changed it since; else what
    others changed stays.

    Raises:
        LibvirtFailed: libvirt does not take the definition.
    """
    try:
        machine = vm if vm is not None else TestVM.find(host, step.domain)
    except DomainNotFound:
        return False  # it was undefined, and its device with it
    shown = machine.xml(inactive=True)
    if not machine.is_persistent or not is_defined(shown, step.mac):
        return False
    controllers = controllers_of(step.before_xml) if step.before_xml else None
    less = defined_without(shown, step.mac, controllers=controllers)
    untouched = bool(step.before_xml) and same(less, step.before_xml)
    whole = machine.xml(inactive=True, secrets=True)
    machine.redefine(
        defined_without(whole, step.mac, controllers=controllers if untouched else None)
    )
    return True
