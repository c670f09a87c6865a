"""Apply and undo the steps of the host, in as few round trips as possible."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from kvmlab.changes.settings import Values, read_settings
from kvmlab.changes.steps import Command, HostStep
from kvmlab.deadline import until
from kvmlab.errors import (
    CommandFailed,
    CommandTimeout,
    HostUnreachable,
    KvmlabError,
    OutcomeUnknown,
    StepFailed,
)
from kvmlab.hosts import Runner, run_script
from kvmlab.process import Completed

_COMMAND_SEC: Final = 60
_IP_BATCH: Final = ("ip", "-batch", "-")
#: Longer than the deadline of any command of a step, which the host enforces.
REST_SEC: Final = 75.0
_REST_POLL_SEC: Final = 0.5


def check_unchanged(steps: Sequence[HostStep], runner: Runner) -> Values:
    """Read the settings that the steps depend on, and compare them with the plan.

    Raises:
        StepFailed: the host is no longer as it was when the plan was made; nothing was changed.
    """
    values = settings_of(steps, runner)
    for step in steps:
        setting = step.setting
        if values[setting.path] != setting.before:
            raise StepFailed(
                f"{runner.name} has changed since the plan was made: {setting.path} read "
                f"{setting.before or 'nothing'} then and reads {values[setting.path] or 'nothing'} "
                "now. Nothing was changed.",
                todo="Inspect the host again and make a new plan; `kvmlab restore` puts back what "
                "an earlier run left behind.",
            )
    return values


def apply(steps: Sequence[HostStep], runner: Runner, values: Values) -> None:
    """Run the commands of the steps in order, then verify every setting.

    ``values`` are the settings as `check_unchanged` read them.

    Raises:
        CommandFailed, CommandTimeout, HostRefused, HostUnreachable: a command failed.
        StepFailed: the commands succeeded, but a setting did not change.
    """
    try:
        run_commands((command for step in steps for command in step.do), runner, values)
    except CommandFailed as error:
        meaning = _meaning(steps, error.completed)
        if meaning is None:
            raise
        raise StepFailed(meaning, evidence=error.evidence) from error
    now = read_settings(runner, (step.setting.path for step in steps))
    for step in steps:
        # A step without commands only remembers a setting that later ones change.
        if step.do and now[step.setting.path] != step.setting.after:
            raise StepFailed(
                f"{step.what} The commands succeeded, but {step.setting.path} reads "
                f"{now[step.setting.path] or 'nothing'} where {step.setting.after} was expected."
            )


def _meaning(steps: Sequence[HostStep], failed: Completed) -> str | None:
    """Return the explanation that the failed command's step has for what it printed."""
    output = failed.stdout + failed.stderr
    for step in steps:
        # A runner may have put sudo before the command.
        if any(failed.argv[-len(command.argv) :] == command.argv for command in step.do):
            return next((meaning for text, meaning in step.meanings if text in output), None)
    return None


def run_commands(commands: Iterable[Command], runner: Runner, values: Values) -> None:
    """Run commands as root; consecutive ``ip …`` commands share one process and round trip."""
    needed = (
        c for c in commands if c.only_when is None or values[c.only_when[0]] == c.only_when[1]
    )
    for batch, group in groupby(needed, key=_can_be_batched):
        if batch:
            lines = "".join(" ".join(command.argv[1:]) + "\n" for command in group)
            runner.run(_IP_BATCH, timeout_sec=_COMMAND_SEC, input_text=lines, root=True)
        else:
            for command in group:
                runner.run(
                    command.argv,
                    timeout_sec=_COMMAND_SEC,
                    input_text=command.input_text,
                    root=True,
                )


def is_outcome_unknown(error: BaseException) -> bool:
    """Return whether a command that raised this may still run on the host.

    Ctrl-C and a lost connection leave it running there, as may a deadline that only passed here.
    """
    if isinstance(error, CommandTimeout):
        return error.may_still_run
    return not isinstance(error, KvmlabError) or isinstance(error, HostUnreachable)


def await_rest(steps: Sequence[HostStep], runner: Runner, *, timeout_sec: float = REST_SEC) -> None:
    """Wait until no command of these steps runs on the host, so that their settings are at rest.

    Raises:
        OutcomeUnknown: one still runs after ``timeout_sec``.
        CommandFailed, CommandTimeout, HostRefused, HostUnreachable: the host cannot be read.
    """
    ours = {_as_run(command) for step in steps for command in (*step.do, *step.undo)}

    def running() -> set[tuple[str, ...]]:
        done = run_script(
            runner, "kvmlab.changes", "read_commands.sh", timeout_sec=_COMMAND_SEC, root=True
        )
        # Before our own words may come those of sudo and of timeout.
        lines = parse_commands(done.stdout)
        return {argv for argv in ours if any(line[-len(argv) :] == argv for line in lines)}

    until(
        lambda: not running(),
        timeout_sec=timeout_sec,
        every_sec=_REST_POLL_SEC,
        what=f"The end of this change's commands on {runner.name}",
        error=OutcomeUnknown,
        evidence=lambda: "\n".join(shlex.join(argv)[:200] for argv in sorted(running())),
        todo="It is not known what they will still change: find out what the commands below wait "
        "for.",
    )


def parse_commands(text: str) -> list[tuple[str, ...]]:
    r"""Parse the output of ``read_commands.sh``: the argv of each process.

    >>> parse_commands("/proc/7/cmdline:tee\0/proc/7/cmdline:/sys/x\0/proc/8/cmdline:sh\0")
    [('tee', '/sys/x'), ('sh',)]
    """
    processes: dict[str, list[str]] = {}
    for entry in text.split("\0"):
        path, separator, word = entry.partition(":")
        if separator:
            processes.setdefault(path, []).append(word)
    return [tuple(words) for words in processes.values()]


def _as_run(command: Command) -> tuple[str, ...]:
    return _IP_BATCH if _can_be_batched(command) else command.argv


def _is_needed(command: Command, values: Values) -> bool:
    if command.only_when is None:
        return True
    path, value = command.only_when
    return values[path] == value


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


def settings_of(steps: Iterable[HostStep], runner: Runner) -> Values:
    """Read every setting that applying or undoing these steps depends on, in one round trip."""
    return read_settings(runner, _paths(steps))


def undo_together(steps: Sequence[HostStep], runner: Runner, values: Values) -> Values:
    """Undo all applied steps in one batch; return the settings as they read afterwards.

    The caller calls `undo` for each step afterwards, which finds nothing left to do or raises
    what is in the way.
    """
    applied = [step for step in steps if _is_applied(step, values[step.setting.path])]
    if not applied:
        return values
    try:
        run_commands((command for step in applied for command in step.undo), runner, values)
    except KvmlabError as error:
        if is_outcome_unknown(error):
            await_rest(applied, runner)
    return settings_of(steps, runner)


def _is_applied(step: HostStep, now: str | None) -> bool:
    """Return whether the step's undo has something to do, and may do it."""
    return now != step.setting.before and (step.settles or now == step.setting.after)


def undo(step: HostStep, runner: Runner, values: Values) -> None:
    """Undo one step if its setting reads what the step made of it; ``values`` are up to date.

    Raises:
        StepFailed: the setting has neither its value before nor after the step.
        CommandFailed, CommandTimeout, HostRefused, HostUnreachable: a command failed.
    """
    setting = step.setting
    now = values[setting.path]
    if now == setting.before:
        return
    if not _is_applied(step, now):
        raise StepFailed(
            f"{setting.path} on {runner.name} reads {now or 'nothing'}: neither the value before "
            f"the change ({step.before}) nor after it ({step.after}). It was left alone."
        )
    run_commands(step.undo, runner, values)
    again = read_settings(runner, (setting.path,))[setting.path]
    if again != setting.before:
        raise StepFailed(
            f"{setting.path} on {runner.name} reads {again or 'nothing'} after its undo, where "
            f"{step.before} was expected."
        )
