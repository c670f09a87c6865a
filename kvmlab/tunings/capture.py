"""Prices of watching: a capture at the tap, the lab's own meters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmlab.changes import Command, HostStep, Setting, operations
from kvmlab.domain import VmThreads
from kvmlab.hosts import script_text
from kvmlab.measure.counters import MAPS
from kvmlab.measure.ebpf.programs import RECORDS
from kvmlab.tunings.base import TAP, Target, Tuning, TuningPlace
from kvmlab.tunings.tap import OfTap

if TYPE_CHECKING:
    from kvmlab.measure.ebpf.programs import RecordFields


@dataclass(frozen=True)
class Capture(OfTap):
    """tcpdump at the tap, written into nothing: headers alone, or whole packets."""

    id = "tcpdump"
    values = ("off", "headers", "whole")
    default = "off"
    surveyed = ("whole",)

    def tap_steps(self, target: Target) -> tuple[HostStep, ...]:
        """Start it, and see it listen."""
        if self.is_default:
            return ()
        length = "96" if self.value == "headers" else "262144"
        script = script_text("kvmlab.changes", "capture.sh")
        return (
            HostStep(
                what=f"Watch the VM's tap with tcpdump ({self.value}).",
                setting=Setting(f"capture:{TAP}", None, "present"),
                do=(
                    Command(
                        ("sh", "-s", "--", "start", TAP, length, operations.CAPTURE_RECORD),
                        script,
                        shown_as=f"tcpdump -i {TAP} -s {length} -w /dev/null &",
                    ),
                ),
                undo=(operations.end_capture(TAP),),
            ),
        )


@dataclass(frozen=True)
class SecondMeters(Tuning):
    """The eBPF programs of the lab's meters in the kernel once more, where they count for nobody.

    Each measurement has one set of them. What a second set costs is what the first one does.
    """

    id = "meters"
    values = ("once", "twice")
    default = "once"
    place = TuningPlace.HOST

    def refusal(self, target: Target) -> str:
        """Return the reason where the programs of the meters cannot be loaded."""
        if self.is_default or not target.settings:
            return ""
        missing = [event for event in RECORDS if not target.settings.get(f"record:{event}")]
        if missing:
            return f"The kernel's tracepoints {', '.join(missing)} cannot be read."
        if not _threads(target).vcpus:
            return f"No vCPU of {target.vm_name} runs on the host."
        return ""

    def reads(self, target: Target) -> tuple[str, ...]:
        """Return what the programs are made for: records of tracepoints, the VM's threads."""
        return (*(f"record:{event}" for event in RECORDS), f"vcpus:{target.vm_name}")

    def host_steps(self, target: Target) -> tuple[HostStep, ...]:
        """Have a second program on the host load what the first one does with full costs."""
        if self.is_default:
            return ()
        vm = _threads(target)
        # Without a reachable host there are no threads to make programs for.
        commands = _commands(vm, _fields(target)) if vm.vcpus else ()
        sizes = ",".join(str(source.size(vm)) for source in MAPS)
        words = ("start", operations.METERS_RECORD, str(1 + len(commands)), sizes, *RECORDS)
        script = script_text("kvmlab.changes", "second_meters.sh")
        threads = tuple(f"/proc/{vm.pid}/task/{tid}" for tid in vm.vcpus)
        return (
            HostStep(
                what="Have the programs of the lab's meters in the kernel a second time.",
                setting=Setting("meters:second", None, "present"),
                do=(
                    Command(("ls", "-d", *threads)),
                    Command(
                        ("sh", "-c", script, "second_meters.sh", *words),
                        script_text("kvmlab.measure", "meters.pl") + "".join(commands),
                        shown_as="(the eBPF programs of the lab's meters, which nobody reads)",
                    ),
                ),
                undo=(operations.end_second_meters(),),
                meanings=(
                    ("No such file", "The VM has other threads than when this was planned."),
                ),
            ),
        )


def _threads(target: Target) -> VmThreads:
    """Return the VM's process and the threads of its vCPUs; none without a reachable host."""
    pid, *vcpus = map(int, (target.settings.get(f"vcpus:{target.vm_name}") or "0").split())
    return VmThreads(pid, tuple(vcpus), (), ())


def _fields(target: Target) -> RecordFields:
    """Return the offsets of the fields in the records that the programs read."""
    records = {event: target.settings.get(f"record:{event}") or "" for event in RECORDS}
    pairs = {event: [word.split(":") for word in text.split()] for event, text in records.items()}
    return {event: {name: int(offset) for name, offset in of} for event, of in pairs.items()}


def _commands(vm: VmThreads, fields: RecordFields) -> tuple[str, ...]:
    """Return a line for ``meters.pl`` for each group of programs, those of `Detail.FULL`."""
    programs = {source.number: source.programs(vm, fields) for source in MAPS}
    return tuple(
        "\t".join(("attach", str(number), *(program.word for program in group))) + "\n"
        for number, group in programs.items()
    )
