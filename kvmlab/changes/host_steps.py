"""Making and undoing steps of the host, in as few round trips as can be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Final

from kvmlab.changes.settings import read_settings
from kvmlab.changes.steps import Command, HostStep
from kvmlab.errors import CommandFailed, KvmlabError, StepFailed
from kvmlab.hosts import Runner
from kvmlab.process import Completed

_COMMAND_SEC: Final = 60


def check_unchanged(steps: Sequence[HostStep], runner: Runner) -> dict[str, str | None]:
    """Read what the steps and their commands depend on, and hold it against the plan.

    Raises:
        StepFailed: the host is no longer as it was when the plan was made; nothing was changed.
    """
    found = settings_of(steps, runner)
    for step in steps:
        setting = step.setting
        if found[setting.path] != setting.before:
            raise StepFailed(
                f"{runner.name} has changed since the plan was made: {setting.path} read "
                f"{setting.before or 'nothing'} then and reads {found[setting.path] or 'nothing'} "
                "now. Nothing was changed.",
                todo="Inspect the host again and make a new plan; `kvmlab restore` puts back what "
                "an earlier run left behind.",
            )
    return found


def make(steps: Sequence[HostStep], runner: Runner, found: dict[str, str | None]) -> None:
    """Run the commands of the steps in order, then see that every setting reads as it should.

    ``found`` is what `check_unchanged` read.

    Raises:
        CommandFailed, CommandTimeout, HostRefused, HostUnreachable: a command failed.
        StepFailed: the commands succeeded and the setting did not move.
    """
    try:
        run_commands((command for step in steps for command in step.do), runner, found)
    except CommandFailed as error:
        meaning = _meaning(steps, error.completed)
        if meaning is None:
            raise
        raise StepFailed(meaning, evidence=error.evidence) from error
    now = read_settings(runner, (step.setting.path for step in steps))
    for step in steps:
        # A step without commands only remembers what later ones move.
        if step.do and now[step.setting.path] != step.setting.after:
            raise StepFailed(
                f"{step.what} The commands succeeded, but {step.setting.path} reads "
                f"{now[step.setting.path] or 'nothing'} where {step.setting.after} was expected."
            )


def _meaning(steps: Sequence[HostStep], failed: Completed) -> str | None:
    """What the step to which the failed command belongs says about what it printed."""
    said = failed.stdout + failed.stderr
    for step in steps:
        # A runner may have put sudo before the command.
        if any(failed.argv[-len(command.argv) :] == command.argv for command in step.do):
            return next((means for text, means in step.meanings if text in said), None)
    return None


def run_commands(commands: Iterable[Command], runner: Runner, found: dict[str, str | None]) -> None:
    """Run commands as root; neighbours that are ``ip …`` share one process and one round trip."""
    needed = (c for c in commands if c.only_when is None or found[c.only_when[0]] == c.only_when[1])
    for batch, group in groupby(needed, key=_can_be_batched):
        if batch:
            lines = "".join(" ".join(command.argv[1:]) + "\n" for command in group)
            runner.run(("ip", "-batch", "-"), timeout_sec=_COMMAND_SEC, input_text=lines, root=True)
        else:
            for command in group:
                runner.run(
                    command.argv,
                    timeout_sec=_COMMAND_SEC,
                    input_text=command.input_text,
                    root=True,
                )


def _can_be_batched(command: Command) -> bool:
    # ``ip -batch`` splits its lines at blanks and knows quotes and comments; words with any of
    # these go alone. Options before the object (``ip -n peer …``) are not part of a batch line.
    words = command.argv
    plain = all(word and not set(word) & set(" \t\n\"'#\\") for word in words)
    return words[0] == "ip" and plain and command.input_text is None and words[1][0] != "-"


def _paths(steps: Iterable[HostStep]) -> list[str]:
    paths = []
    for step in steps:
        paths.append(step.setting.path)
        paths += [c.only_when[0] for c in (*step.do, *step.undo) if c.only_when is not None]
    return paths


def settings_of(steps: Iterable[HostStep], runner: Runner) -> dict[str, str | None]:
    """Everything that making or undoing these steps depends on, in one round trip."""
    return read_settings(runner, _paths(steps))


def undo_together(
    steps: Sequence[HostStep], runner: Runner, found: dict[str, str | None]
) -> dict[str, str | None]:
    """Undo in one go what reads as the steps made it; returns what everything reads then.

    The caller goes through the steps one by one with `undo` afterwards, which finds nothing left
    to do or says what is in the way.
    """
    made = [step for step in steps if _is_made(step, found[step.setting.path])]
    if not made:
        return found
    with suppress(KvmlabError):
        run_commands((command for step in made for command in step.undo), runner, found)
    return settings_of(steps, runner)


def _is_made(step: HostStep, now: str | None) -> bool:
    """Whether the step's undo has something to do, and may."""
    return now != step.setting.before and (step.settles or now == step.setting.after)


def undo(step: HostStep, runner: Runner, found: dict[str, str | None]) -> None:
    """Undo one step if its setting reads what the step made of it; ``found`` is up to date.

    Raises:
        StepFailed: the setting reads something else than the step found or made.
        CommandFailed, CommandTimeout, HostRefused, HostUnreachable: a command failed.
    """
    setting = step.setting
    now = found[setting.path]
    if now == setting.before:
        return
    if not _is_made(step, now):
        raise StepFailed(
            f"{setting.path} on {runner.name} reads {now or 'nothing'}: neither what kvmlab found "
            f"there ({step.before}) nor what it made of it ({step.after}). It was left alone."
        )
    run_commands(step.undo, runner, found)
    again = read_settings(runner, (setting.path,))[setting.path]
    if again != setting.before:
        raise StepFailed(
            f"{setting.path} on {runner.name} reads {again or 'nothing'} after its undo, where "
            f"{step.before} was expected."
        )
