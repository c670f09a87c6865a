"""Prices of watching: a capture at the tap."""

from __future__ import annotations

from dataclasses import dataclass

from kvmlab.changes import Command, HostStep, Setting, operations
from kvmlab.hosts import script_text
from kvmlab.tunings.base import TAP, Target
from kvmlab.tunings.tap import OfTap


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
                        ("sh", "-s", "--", "start", TAP, length),
                        script,
                        shown_as=f"tcpdump -i {TAP} -s {length} -w /dev/null &",
                    ),
                ),
                undo=(operations.end_capture(TAP),),
            ),
        )
