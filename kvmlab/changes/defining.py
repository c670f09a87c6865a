"""A change that stays: an interface written into a domain's persistent definition.

Only when asked, and only of a domain that was named. Nothing of the running VM changes, and
nothing of the host: the interface is there from the VM's next start on, and needs then what the
scheme's steps on the host make.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kvmlab.changes import display
from kvmlab.changes.define_step import DefineInterface, undefine_interface
from kvmlab.changes.guard import refuse
from kvmlab.changes.journal import Journal
from kvmlab.changes.lock import locked
from kvmlab.changes.recovery import settle_leftovers
from kvmlab.changes.state_dir import host_key, private_dir, state_dir
from kvmlab.changes.steps import HostStep
from kvmlab.changes.undoing import uninterrupted
from kvmlab.domain import LAB_VM_NAME, Domain, unified
from kvmlab.domain.persistent import (
    defined_with,
    defined_without,
    is_defined,
    macs_of_ours,
    same,
)
from kvmlab.errors import OutputError, Refused

if TYPE_CHECKING:
    from kvmlab.changes.plan import Plan
    from kvmlab.domain import TestVM
    from kvmlab.hosts import Host

_PURPOSE: Final = "the definition of"


@dataclass(frozen=True)
class Definition:
    """What is to be written into, or with ``undo`` taken out of, a domain's definition.

    It shows itself as a plan does; ``shown`` is that plan.
    """

    shown: Plan
    step: DefineInterface

    def write(self, vm: TestVM) -> None:
        """Write it. What the definition was before is kept on this machine.

        Raises:
            Refused: nobody said yes, the guard would not let it happen, the definition is another
                one by now, or an earlier run left something behind; nothing was changed.
            HostBusy: another lab holds the host.
            LibvirtFailed: libvirt did not take it; the definition is as it was.
        """
        host, step = vm.host, self.step
        host.must_allow_changes(f"{_PURPOSE} {vm.name}")
        refuse(self.shown.refusals)
        with locked(host, purpose=f"{_PURPOSE} {vm.name}"), uninterrupted():
            settle_leftovers(host)
            if not same(vm.xml(inactive=True), step.before_xml):
                raise Refused(
                    f"The definition of {vm.name} is not the one that was looked at. Nothing was "
                    "changed.",
                    todo="Look at it again.",
                )
            journal = Journal.begin(host, scheme=self.shown.scheme, domain=vm.name)
            try:
                journal.making([step], [0])
                whole = vm.xml(inactive=True, secrets=True)
                vm.redefine(defined_with(whole, step.interface_xml, step.mac))
                _kept_at(host, step).write_text(_record(host, step), encoding="utf-8")
            except BaseException:
                _give_up(step, vm, journal)
                raise
            journal.finish()

    def __str__(self) -> str:
        return display.as_text(self.shown)

    def _repr_html_(self) -> str:
        return display.as_html(self.shown)


def definition_of(plan: Plan, vm: TestVM) -> Definition:
    """The plan's interface as a change of the persistent definition of ``vm``; changes nothing.

    Raises:
        Refused: the domain is the lab's own, is transient, or has the interface already.
    """
    must_be_named(vm.name)
    _must_be_persistent(vm)
    before = vm.xml(inactive=True)
    if is_defined(before, plan.mac):
        raise Refused(
            f"The definition of {vm.name} has the interface {plan.mac} already.",
            todo=f"Take it out first: `kvmlab define --undo --domain {vm.name} "
            f"--host {vm.host.spec}`.",
        )
    what = f"Write the interface into the persistent definition of {vm.name}: {plan.label}."
    step = DefineInterface(what, vm.name, plan.mac, plan.interface_xml, before)
    after = defined_with(before, plan.interface_xml, plan.mac)
    shown = replace(
        plan,
        heading=f"To stay: {vm.name} gets an interface in its definition, {plan.label}",
        steps=(step,),
        domain_diff=_diff(before, after, vm.name),
        notes=(*_what_is_not_made(plan, running=vm.state != "shut off"), *plan.notes),
    )
    return Definition(shown, step)


@dataclass(frozen=True)
class Undefinition:
    """What kvmlab wrote into a domain's definition, and the diff of taking it out."""

    steps: tuple[DefineInterface, ...]
    diff: str

    def write(self, vm: TestVM) -> tuple[str, ...]:
        """Take it out; returns a sentence for each interface. What runs goes on as it is.

        Raises: as `Definition.write`.
        """
        host = vm.host
        host.must_allow_changes(f"{_PURPOSE} {vm.name}")
        done = []
        with locked(host, purpose=f"{_PURPOSE} {vm.name}"), uninterrupted():
            settle_leftovers(host)
            journal = Journal.begin(host, scheme="undefine", domain=vm.name)
            try:
                for number, step in enumerate(self.steps):
                    journal.making([step], [number])
                    if undefine_interface(step, host, vm):
                        done.append(f"Taken out of the definition of {vm.name}: {step.mac}.")
                    _kept_at(host, step).unlink(missing_ok=True)
            except BaseException:
                journal.abandon()
                raise
            journal.finish()
        return tuple(done)

    def __str__(self) -> str:
        return self.diff


def undefinition_of(vm: TestVM) -> Undefinition:
    """Everything that kvmlab wrote into the definition of ``vm``; changes nothing.

    It is known by its alias; where this machine wrote it, it is taken out without a trace.

    Raises:
        Refused: the domain is the lab's own, or transient.
    """
    must_be_named(vm.name)
    _must_be_persistent(vm)
    xml = less = vm.xml(inactive=True)
    kept, macs = _kept(vm), macs_of_ours(xml)
    steps = tuple(
        kept.get(mac)
        or DefineInterface(f"The interface {mac} in the definition.", vm.name, mac, "", "")
        for mac in macs
    )
    for mac in macs:
        less = defined_without(less, mac, controllers=None)
    return Undefinition(steps, _diff(xml, less, vm.name))


def must_be_named(name: str) -> None:
    """See that a domain was named, whose definition may then be changed.

    Raises:
        Refused: it is the lab's own.
    """
    if name == LAB_VM_NAME:
        raise Refused(
            f"{LAB_VM_NAME} is the lab's own VM, which is made anew when it is needed.",
            todo="Name the domain whose definition is to be changed: --domain, or "
            'open_lab(…, vm="NAME").',
        )


def _must_be_persistent(vm: TestVM) -> None:
    if not vm.is_persistent:
        raise Refused(
            f"The domain {vm.name} is transient: it has no definition that could be changed.",
            todo="Define it first (`virsh define`); `kvmlab apply` needs no definition.",
        )


def _give_up(step: DefineInterface, vm: TestVM, journal: Journal) -> None:
    """Take back what may have been written; where that fails, the journal stays for `restore`."""
    try:
        undefine_interface(step, vm.host, vm)
    except BaseException:
        journal.abandon()
        raise
    journal.finish()


def _what_is_not_made(plan: Plan, *, running: bool) -> list[str]:
    notes = [
        "Only the definition is written: "
        + (
            "the running VM goes on without the interface until it is shut down and started anew."
            if running
            else "the VM has the interface when it is started the next time."
        )
    ]
    steps = [step.what for step in plan.steps if isinstance(step, HostStep)]
    if steps:
        notes.append(
            "What the interface needs on the host is not made here, and where `kvmlab apply` makes "
            f"it, it does not outlive that nor a reboot: {' '.join(steps)} Make it last by the "
            "host's own network configuration; for VFs and modules kvmlab.persistence says how, "
            "and kvmlab.install writes those files."
        )
    return notes


def _diff(before: str, after: str, name: str) -> str:
    one, other = Domain.parse(before), Domain.parse(after)
    return unified(one.xml(), other.xml(), name=f"definition of {name}")


def _folder(host: Host) -> Path:
    return private_dir(state_dir() / "defined" / host_key(host.spec))


def _kept_at(host: Host, step: DefineInterface) -> Path:
    return _folder(host) / f"{host_key(step.domain)}-{step.mac.replace(':', '')}.json"


def _record(host: Host, step: DefineInterface) -> str:
    at = datetime.now(UTC).isoformat("T", "seconds")
    return json.dumps({"host": host.spec, "at": at, "step": asdict(step)}, indent=1) + "\n"


def _kept(vm: TestVM) -> dict[str, DefineInterface]:
    """What this machine remembers to have written into that domain, by MAC.

    Raises:
        OutputError: a record is damaged.
    """
    found = {}
    for path in sorted(_folder(vm.host).glob("*.json")):
        try:
            step = DefineInterface(**json.loads(path.read_text(encoding="utf-8"))["step"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OutputError(
                f"{path} cannot be read; it says what a definition was before kvmlab wrote to it.",
                todo="Remove it; what kvmlab wrote is then taken out by its alias.",
            ) from error
        if step.domain == vm.name:
            found[step.mac] = step
    return found
