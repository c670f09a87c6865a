"""The undo of a change as a shell script, for a host whose controller is not heard any more.

The host keeps it beside the journal. It does what `kvmlab.changes.revert` does, with the same
operations and the same look at each setting, and needs nothing but the host's own tools.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

from kvmlab.changes.journal_format import Undone, record_line
from kvmlab.changes.migration_step import MigrateVm
from kvmlab.changes.steps import (
    AttachInterface,
    Command,
    DefineInterface,
    GuestSetting,
    HostStep,
    RestartVm,
    Step,
)
from kvmlab.hosts import script_text

_COMMAND_SEC: Final = 60


def undo_script(name: str, steps: Sequence[tuple[int, Step]], *, libvirt_uri: str) -> str:
    """Return the script that undoes numbered steps, last first; "" where the host cannot.

    ``name`` is the journal's. ``libvirt_uri`` is libvirt's as the host itself reaches it.
    """
    if any(
        isinstance(step, DefineInterface | RestartVm | GuestSetting | MigrateVm)
        for _, step in steps
    ):
        return ""  # it cuts nobody off, and its undo needs more than the host's tools
    last_first = list(reversed(steps))
    parts = [_read_settings(), script_text("kvmlab.changes", "undo_prelude.sh")]
    for number, step in last_first:
        if isinstance(step, AttachInterface):
            words = (libvirt_uri, step.domain, step.alias, _line(name, number))
            parts.append(f"{shlex.join(('detach', *words))}\n")
    for number, step in last_first:
        if isinstance(step, HostStep):
            parts.append(_undo(name, number, step))
    return "".join([*parts, 'exit "$failed"\n'])


def _read_settings() -> str:
    # A subshell: the script reads its own parameters.
    return f"read_settings() (\n{script_text('kvmlab.changes', 'read_settings.sh')})\n"


def _undo(name: str, number: int, step: HostStep) -> str:
    conditions = [command.only_when for command in step.undo]
    lines = [
        f"when_{place}=$(value {shlex.quote(when[0])})"
        for place, when in enumerate(conditions)
        if when is not None
    ]
    for place, (command, when) in enumerate(zip(step.undo, conditions, strict=True)):
        text = _command(command)
        if when is not None:
            text = f'[ "$when_{place}" != {shlex.quote("= " + when[1])} ] || {{ {text}; }}'
        lines.append(text)
    flags = (str(number), str(int(step.settles)), str(int(step.below_device)))
    setting = step.setting
    words = (*flags, setting.path, _read(setting.before), _read(setting.after))
    return "\n".join(
        [
            f"step_{number}() {{",
            *lines,
            ":",
            "}",
            shlex.join(("undo", *words, _line(name, number))),
            "",
        ]
    )


def _command(command: Command) -> str:
    words = shlex.join(("timeout", "-k", "2", str(_COMMAND_SEC), *command.argv))
    if command.input_text is None:
        return words + " </dev/null"
    return f"printf %s {shlex.quote(command.input_text)} | {words} >/dev/null"


def _read(value: str | None) -> str:
    return "" if value is None else f"= {value}"


def _line(name: str, number: int) -> str:
    return record_line(name, Undone(number=number, by="host")).rstrip("\n")
