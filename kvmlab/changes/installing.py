"""Files that make a setting last beyond a reboot: shown as text, written only when asked.

What a plan changes is put back when its block ends; these files are there to stay. So they are no
steps of a plan: `install` writes them, `uninstall` takes them away, at any time later.
"""

from __future__ import annotations

import hashlib
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kvmlab.changes import host_steps
from kvmlab.changes.lock import locked
from kvmlab.changes.steps import Command, HostStep, Setting
from kvmlab.errors import KvmlabError, StepFailed

if TYPE_CHECKING:
    from kvmlab.hosts import Host

_DIGEST_DIGITS: Final = 12
_LINE: Final = 96


@dataclass(frozen=True)
class ConfigFile:
    """One file of a host's configuration: where it belongs, its text, and when it takes effect.

    ``mode`` is octal, as for chmod.
    """

    path: str
    body: str
    effect: str
    mode: str = "0644"

    @property
    def first_line(self) -> str:
        """By which kvmlab knows its own files again, unchanged by others or not."""
        digest = hashlib.sha256(self.body.encode()).hexdigest()[:_DIGEST_DIGITS]
        return f"# Written by kvmlab, {digest}; `kvmlab.uninstall` takes it away."

    @property
    def text(self) -> str:
        """The whole file."""
        return f"{self.first_line}\n{self.body}"

    def __str__(self) -> str:
        effect = textwrap.fill(f"Takes effect {self.effect}.", _LINE, break_on_hyphens=False)
        return f"{self.path}\n{effect}\n\n{self.text}"

    @property
    def step(self) -> HostStep:
        """Writing it, and taking it away."""
        return HostStep(
            what=f"Write {self.path}: {self.effect}.",
            setting=Setting(self.path, None, self.first_line),
            do=(
                Command(("install", "-D", "-m", self.mode, "/dev/null", self.path)),
                Command(("tee", self.path), self.text, shown_as=f"tee {self.path}"),
            ),
            undo=(Command(("rm", "--", self.path)),),
        )


def install(host: Host, *files: ConfigFile) -> None:
    """Write the files; all of them, or none.

    Raises:
        StepFailed: one is there already, or could not be written; none was left behind.
        HostBusy: another lab holds the host.
        HostRefused: this user may not.
    """
    host.must_allow_changes("files that last beyond a reboot")
    steps = [file.step for file in files]
    with locked(host, purpose="install files"):
        found = host_steps.settings_of(steps, host.runner)
        there = [path for path, line in found.items() if line is not None]
        if there:
            raise StepFailed(
                f"{' and '.join(there)} on {host.label}: there already. Nothing was written.",
                todo="Look at what stands there, and move it away or add the lines by hand.",
            )
        try:
            host_steps.make(steps, host.runner, found)
        except KvmlabError:
            _remove(host, steps)
            raise


def uninstall(host: Host, *files: ConfigFile) -> None:
    """Take away those of the files that are there as `install` wrote them.

    Raises:
        StepFailed: one of them is not what kvmlab wrote; it was left alone.
        HostBusy: another lab holds the host.
    """
    with locked(host, purpose="uninstall files"):
        _remove(host, [file.step for file in files])


def _remove(host: Host, steps: list[HostStep]) -> None:
    found = host_steps.settings_of(steps, host.runner)
    for step in reversed(steps):
        host_steps.undo(step, host.runner, found)
