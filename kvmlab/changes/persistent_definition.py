"""A persistent change: an interface written into a domain's persistent definition.

Only on request, and only for a domain that the user named. The running VM and the host do not
change: the interface is there from the VM's next start on, and needs the scheme's steps on the host
then.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kvmlab.changes import display
from kvmlab.changes.guard import refuse
from kvmlab.changes.journal import ChangeJournal
from kvmlab.changes.lab_lock import locked
from kvmlab.changes.recovery import settle_leftovers
from kvmlab.changes.revert import signals_deferred
from kvmlab.changes.steps import DefineInterface, HostStep
from kvmlab.changes.vm_steps import undefine
from kvmlab.directories import private_dir, state_dir
from kvmlab.domain import LAB_VM_NAME, Domain, unified
from kvmlab.domain.persistent_xml import (
    defined_with,
    defined_without,
    is_defined,
    macs_of_ours,
    same,
)
from kvmlab.errors import OutputError, Refused
from kvmlab.hosts.uri import host_key, legacy_host_key
from kvmlab.stored_files import parse_json

if TYPE_CHECKING:
    from kvmlab.changes.plan import Plan
    from kvmlab.domain import TestVM
    from kvmlab.hosts import Host

_PURPOSE: Final = "the definition of"


@dataclass(frozen=True)
class Definition:
    """An interface to be written into a domain's definition; displays as its ``plan`` does."""

    plan: Plan
    step: DefineInterface

    def write(self, vm: TestVM) -> None:
        """Write it. The definition before is recorded on this machine.

        Raises:
            Refused: nobody said yes, the guard refuses it, the definition has changed since, or an
                earlier run left something behind; nothing was changed.
            HostBusy: another lab has the host's lock.
            LibvirtFailed: libvirt rejected it; the definition is as it was.
        """
        host, step = vm.host, self.step
        host.must_allow_changes(f"{_PURPOSE} {vm.name}")
        refuse(self.plan.refusals)
        with locked(host, purpose=f"{_PURPOSE} {vm.name}"), signals_deferred():
            settle_leftovers(host)
            if not same(vm.xml(inactive=True), step.before_xml):
                raise Refused(
                    f"The definition of {vm.name} has changed since the plan was made. Nothing "
                    "was changed.",
                    todo="Make the plan again.",
                )
            journal = ChangeJournal.begin(host, scheme=self.plan.scheme, domain=vm.name)
            try:
                journal.begin_steps([step], [0])
                complete = vm.xml(inactive=True, secrets=True)
                vm.redefine(defined_with(complete, step.interface_xml, step.mac))
                _record_path(host, step).write_text(_record(host, step), encoding="utf-8")
            except BaseException:
                _give_up(step, vm, journal)
                raise
            journal.finish()

    def __str__(self) -> str:
        return display.as_text(self.plan)

    def _repr_html_(self) -> str:
        return display.as_html(self.plan)


def definition_of(plan: Plan, vm: TestVM) -> Definition:
    """Plan to write the plan's interface into the definition of ``vm``; change nothing.

    Raises:
        Refused: the domain is the lab's own, is transient, or has the interface already.
    """
    require_vm_name(vm.name)
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
        notes=(*_limits(plan, running=vm.state != "shut off"), *plan.notes),
    )
    return Definition(shown, step)


@dataclass(frozen=True)
class Undefinition:
    """Interfaces that kvmlab wrote into a domain's definition, and the diff of removing them."""

    steps: tuple[DefineInterface, ...]
    diff: str

    def write(self, vm: TestVM) -> tuple[str, ...]:
        """Remove them; return a sentence for each interface. The running VM does not change.

        Raises: as `Definition.write`.
        """
        host = vm.host
        host.must_allow_changes(f"{_PURPOSE} {vm.name}")
        done = []
        with locked(host, purpose=f"{_PURPOSE} {vm.name}"), signals_deferred():
            settle_leftovers(host)
            journal = ChangeJournal.begin(host, scheme="undefine", domain=vm.name)
            try:
                for number, step in enumerate(self.steps):
                    journal.begin_steps([step], [number])
                    if undefine(step, host, vm):
                        done.append(f"Taken out of the definition of {vm.name}: {step.mac}.")
                    _record_path(host, step).unlink(missing_ok=True)
            except BaseException:
                journal.abandon()
                raise
            journal.finish()
        return tuple(done)

    def __str__(self) -> str:
        return self.diff


def undefinition_of(vm: TestVM) -> Undefinition:
    """Find what kvmlab wrote into the definition of ``vm``; change nothing.

    Its alias identifies it; where this machine wrote it, it is removed without a trace.

    Raises:
        Refused: the domain is the lab's own, or transient.
    """
    require_vm_name(vm.name)
    _must_be_persistent(vm)
    xml = without = vm.xml(inactive=True)
    records, macs = _records(vm), macs_of_ours(xml)
    steps = tuple(
        records.get(mac)
        or DefineInterface(f"The interface {mac} in the definition.", vm.name, mac, "", "")
        for mac in macs
    )
    for mac in macs:
        without = defined_without(without, mac, controllers=None)
    return Undefinition(steps, _diff(xml, without, vm.name))


def require_vm_name(name: str) -> None:
    """Require a domain that the user named, whose definition may be changed.

    Raises:
        Refused: it is the lab's own VM.
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


def _give_up(step: DefineInterface, vm: TestVM, journal: ChangeJournal) -> None:
    """Remove what may have been written; where that fails, the journal stays for `restore`."""
    try:
        undefine(step, vm.host, vm)
    except BaseException:
        journal.abandon()
        raise
    journal.finish()


def _limits(plan: Plan, *, running: bool) -> list[str]:
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
    return unified(
        Domain.parse(before).xml(), Domain.parse(after).xml(), name=f"definition of {name}"
    )


def _folder(host: Host) -> Path:
    return private_dir(state_dir() / "defined" / host_key(host.spec), must_own=False)


def _record_path(host: Host, step: DefineInterface) -> Path:
    name = _record_name(step)
    legacy = _legacy_folder(host) / name
    return legacy if legacy.exists() else _folder(host) / name


def _legacy_folder(host: Host) -> Path:
    return state_dir() / "defined" / legacy_host_key(host.spec)


def _record_name(step: DefineInterface) -> str:
    return f"{legacy_host_key(step.domain)}-{step.mac.replace(':', '')}.json"


def _record(host: Host, step: DefineInterface) -> str:
    at = datetime.now(UTC).isoformat("T", "seconds")
    return json.dumps({"host": host.spec, "at": at, "step": asdict(step)}, indent=1) + "\n"


def _records(vm: TestVM) -> dict[str, DefineInterface]:
    """Read this machine's records of what it wrote into that domain, by MAC.

    Raises:
        OutputError: a record is damaged.
    """
    steps = {}
    for path in sorted([*_legacy_folder(vm.host).glob("*.json"), *_folder(vm.host).glob("*.json")]):
        try:
            step = DefineInterface(**parse_json(path.read_text(encoding="utf-8"))["step"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OutputError(
                f"{path} cannot be read; it says what a definition was before kvmlab wrote to it.",
                todo="Remove it; what kvmlab wrote is then taken out by its alias.",
            ) from error
        if step.domain == vm.name:
            steps[step.mac] = step
    return steps
