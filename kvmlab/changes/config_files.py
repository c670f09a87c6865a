"""Configuration files that make a setting survive a reboot: shown as text, written on request.

A plan is reverted when its block ends; these files stay. So they are no steps of a plan: `install`
writes them, `uninstall` removes them at any later time.
"""

from __future__ import annotations

import hashlib
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kvmlab.changes import host_steps, operations
from kvmlab.changes.journal import ChangeJournal
from kvmlab.changes.lab_lock import LockedRunner, locked
from kvmlab.changes.recovery import settle_leftovers
from kvmlab.changes.revert import revert_failed, signals_deferred, undo_all
from kvmlab.changes.steps import Command, HostStep, Setting
from kvmlab.errors import StepFailed
from kvmlab.hosts import script_text

if TYPE_CHECKING:
    from kvmlab.hosts import Host

_DIGEST_DIGITS: Final = 12
_LINE: Final = 96


@dataclass(frozen=True)
class ConfigFile:
    """One configuration file of a host: its path, its text, and when it takes effect.

    ``mode`` is octal, as for chmod.
    """

    path: str
    body: str
    effect: str
    mode: str = "0644"

    @property
    def first_line(self) -> str:
        """The line by which kvmlab recognises its own files, unchanged by others or not."""
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
        """The step that writes the file; its undo removes it."""
        script = script_text("kvmlab.changes", "write_file.sh")
        return HostStep(
            what=f"Write {self.path}: {self.effect}.",
            setting=Setting(self.path, None, self.first_line),
            # The script travels in the command line: its standard input is the file's text.
            do=(
                Command(
                    ("sh", "-c", script, "write_file.sh", self.path, self.mode),
                    self.text,
                    shown_as=f"tee {self.path}",
                ),
            ),
            undo=(operations.remove_file(self.path),),
        )

    @property
    def part_step(self) -> HostStep:
        """A step that does nothing; its undo removes what a crash has left of the writing."""
        part = f"{self.path}.kvmlab-part"
        return HostStep(
            what=f"Remove what is unfinished of {self.path}.",
            setting=Setting(part, None, None),
            do=(),
            undo=(operations.remove_file(part),),
            settles=True,
        )


def install(host: Host, *files: ConfigFile) -> None:
    """Write the files, all of them or none.

    Raises:
        StepFailed: one exists already, or could not be written; none was left behind.
        RevertFailed: one could not be written, and another one not be removed; `restore` does.
        HostBusy: another lab has the host's lock.
        HostRefused: this user has no permission.
    """
    host.must_allow_changes("files that last beyond a reboot")
    steps = [file.step for file in files]
    with locked(host, purpose="install files"), signals_deferred():
        first_lines = host_steps.settings_of(steps, host.runner)
        existing = [path for path, line in first_lines.items() if line is not None]
        if existing:
            raise StepFailed(
                f"{' and '.join(existing)} on {host.label}: there already. Nothing was written.",
                todo="Look at what stands there, and move it away or add the lines by hand.",
            )
        settle_leftovers(host)
        parts = [file.part_step for file in files]
        numbered = list(enumerate([*parts, *steps]))
        journal = ChangeJournal.begin(host, scheme="install", domain="")
        try:
            journal.begin_steps([step for _, step in numbered], [n for n, _ in numbered])
            host_steps.apply(steps, LockedRunner(host), first_lines)
        except BaseException as error:
            settle = host_steps.is_outcome_unknown(error)
            failures = undo_all(numbered, host, None, journal, settle=settle).failures
            if failures:
                journal.abandon()
                raise revert_failed(host, failures) from error
            journal.finish()
            raise
        # They are there to stay: there is nothing left to undo.
        journal.finish()


def uninstall(host: Host, *files: ConfigFile) -> None:
    """Remove those of the files that are as `install` wrote them.

    Raises:
        StepFailed: one of them was changed since; it was left alone.
        HostBusy: another lab has the host's lock.
    """
    with locked(host, purpose="uninstall files"):
        _remove(host, [file.step for file in files])


def _remove(host: Host, steps: list[HostStep]) -> None:
    first_lines = host_steps.settings_of(steps, host.runner)
    for step in reversed(steps):
        host_steps.undo(step, host.runner, first_lines)
