"""The format of a journal: records with checksums, and what they say once the run has died.

A journal is a text of lines, one record each: a checksum, a blank, JSON. The checksum covers the
journal's name as well, so a line of another journal is as wrong as a flipped bit. Begun steps are
numbered without a gap, so a line that is missing is noticed too. Nothing in a journal is run: a
step is built anew from its kind and values (`kvmlab.changes.operations`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import msgspec

from kvmlab.changes.guest_state import SetGuestState
from kvmlab.changes.migration_step import MigrateVm
from kvmlab.changes.operations import command_of
from kvmlab.changes.steps import (
    AttachInterface,
    Command,
    ConfigureGuest,
    DefineInterface,
    GuestSetting,
    HostStep,
    RestartVm,
    Setting,
    Step,
    TuneGuest,
)
from kvmlab.errors import OutputError

FORMAT: Final = 2
_SUM_DIGITS: Final = 16
#: Far more than any definition of a VM.
_LINE_BYTES: Final = 4 * 1024 * 1024


class Opened(msgspec.Struct, tag_field="event", tag="open", forbid_unknown_fields=True):
    """The first record: who changes which host for what.

    ``machine`` and ``boot`` identify the host's installation and its boot, "" where nobody else
    uses the host.
    """

    format: int
    scheme: str
    host: str
    machine: str
    boot: str
    domain: str
    pid: int
    at: str


class Begun(msgspec.Struct, tag_field="event", tag="begun", forbid_unknown_fields=True):
    """A step is about to be applied; ``sequence`` counts these records from 0."""

    sequence: int
    number: int
    step: dict[str, Any]


class Undone(msgspec.Struct, tag_field="event", tag="undone", forbid_unknown_fields=True):
    """A step has been undone; ``by`` is "host" where the host did so by itself."""

    number: int
    by: str = ""


Record = Opened | Begun | Undone


@dataclass(frozen=True)
class JournalContent:
    """The content of a journal: the steps that were begun and not undone, in order.

    ``opening`` is None for an empty journal, of a run that had begun nothing.
    """

    name: str
    opening: Opened | None
    open_steps: tuple[tuple[int, Step], ...] = ()

    @property
    def scheme(self) -> str:
        """The scheme that was applied."""
        return self.opening.scheme if self.opening is not None else ""

    @property
    def at(self) -> str:
        """Time at which it was applied."""
        return self.opening.at if self.opening is not None else ""

    def since(self, boot: str) -> JournalContent:
        """Drop the steps that ended with an earlier boot of the host.

        Steps of a VM stay: it may have been saved over the boot with its devices.
        """
        if self.opening is None or not boot or self.opening.boot == boot:
            return self
        in_vm = tuple(pair for pair in self.open_steps if not isinstance(pair[1], HostStep))
        return replace(self, open_steps=in_vm)


def record_line(name: str, record: Record) -> str:
    """Return a record as a line of the journal ``name``."""
    text = msgspec.json.encode(record).decode()
    return f"{_sum(name, text)} {text}\n"


def step_record(step: Step) -> dict[str, Any]:
    """Return a step as JSON: what its undo needs, and what a reader has to know.

    Raises:
        ValueError: its undo holds a command that is no operation.
    """
    if not isinstance(step, HostStep):
        fields = {"kind": step.kind, **asdict(step)}
        fields.pop("interface_xml", None)
        return fields
    for command in step.undo:
        if not command.operation:
            raise ValueError(f"`{command.exact}` is no operation that a journal may hold")
    return {
        "kind": step.kind,
        "what": step.what,
        "setting": asdict(step.setting),
        # To find them among the host's processes; they are never run again.
        "do": [command.argv for command in step.do],
        "undo": [command.operation for command in step.undo],
        "settles": step.settles,
        "below_device": step.below_device,
    }


@dataclass(frozen=True)
class _HostStepRecord:
    what: str
    setting: Setting
    do: tuple[tuple[str, ...], ...]
    undo: tuple[tuple[str, ...], ...]
    settles: bool
    below_device: bool

    def step(self) -> HostStep:
        if any(not argv for argv in (*self.do, *self.undo)):
            raise ValueError("a command without words")
        return HostStep(
            what=self.what,
            setting=self.setting,
            do=tuple(Command(argv) for argv in self.do),
            undo=tuple(command_of(operation) for operation in self.undo),
            settles=self.settles,
            below_device=self.below_device,
        )


_KINDS: Final[Mapping[str, type[Any]]] = {
    HostStep.kind: _HostStepRecord,
    AttachInterface.kind: AttachInterface,
    ConfigureGuest.kind: ConfigureGuest,
    DefineInterface.kind: DefineInterface,
    SetGuestState.kind: SetGuestState,
    RestartVm.kind: RestartVm,
    GuestSetting.kind: GuestSetting,
    TuneGuest.kind: TuneGuest,
    MigrateVm.kind: MigrateVm,
}


def step_of(record: Mapping[str, Any]) -> Step:
    """Build a step from its record.

    Raises:
        ValueError: it is no step of this version of kvmlab.
    """
    fields = dict(record)
    kind = fields.pop("kind", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"a step of the kind {str(kind)[:40]!r}")
    if kind in (AttachInterface.kind, DefineInterface.kind):
        fields["interface_xml"] = ""
    step: _HostStepRecord | Step = msgspec.convert(fields, _KINDS[kind])
    return step.step() if isinstance(step, _HostStepRecord) else step


def parse_journal(name: str, text: str, *, where: str = "") -> JournalContent:
    """Parse the text of the journal ``name``; ``where`` names the copy in messages.

    A last line that a crash cut short is ignored: its step was not begun, since a step begins only
    after its line is on disk. An empty journal means that nothing was begun.

    Raises:
        OutputError: not a journal, a damaged one, or one of another format.
    """
    return _content(name, _records(name, text, where or name), where or name)


def merge_journals(name: str, copies: Mapping[str, str]) -> JournalContent:
    """Parse the copies of one journal, by where each is, and put together what they say.

    A damaged copy is left aside as long as another one is whole: a step counts as begun where any
    whole copy says so, and as undone likewise.

    Raises:
        OutputError: no copy is whole, or two whole ones contradict each other.
    """
    whole: list[tuple[str, list[Record]]] = []
    damage: list[OutputError] = []
    for where, text in copies.items():
        try:
            whole.append((where, _records(name, text, where)))
        except OutputError as error:
            damage.append(error)
    if not whole:
        raise damage[0]
    # A copy that was cut before its first record says nothing, and contradicts nothing.
    merged: list[Record] = []
    for _, records in whole:
        merged += [record for record in records if record not in merged]
    if damage and not merged:
        raise damage[0]
    openings = [record for record in merged if isinstance(record, Opened)]
    begun = sorted((r for r in merged if isinstance(r, Begun)), key=lambda record: record.sequence)
    undone = [record for record in merged if isinstance(record, Undone)]
    return _content(name, [*openings, *begun, *undone], " and ".join(where for where, _ in whole))


def _records(name: str, text: str, where: str) -> list[Record]:
    lines = text.split("\n")
    records: list[Record] = []
    for number, line in enumerate(lines):
        if not line and number == len(lines) - 1:
            break
        try:
            records.append(_record(name, line))
        except (ValueError, RecursionError) as error:
            if number == len(lines) - 1 and not _is_line_without_end(name, line):
                break
            if number == 0:
                raise _unknown_format(where, line) from error
            raise OutputError(
                f"Line {number + 1} of {where} is damaged.",
                todo="Undo by hand what the lines around it list, then remove the file.",
                evidence=line[:500],
            ) from error
    if records and not isinstance(records[0], Opened):
        raise _unknown_format(where, lines[0])
    return records


def _is_line_without_end(name: str, line: str) -> bool:
    """Return whether a last line is whole but for its newline, which reads as something else."""
    try:
        _record(name, line[:-1])
    except (ValueError, RecursionError):
        return False
    return True


def _record(name: str, line: str) -> Record:
    checksum, _, text = line.partition(" ")
    if len(line) > _LINE_BYTES or checksum != _sum(name, text):
        raise ValueError("the checksum is wrong")
    record: Record = msgspec.json.decode(text.encode(errors="surrogateescape"), type=Record)
    if isinstance(record, Opened) and record.format != FORMAT:
        raise ValueError(f"format {record.format}")
    return record


def _content(name: str, records: Iterable[Record], where: str) -> JournalContent:
    opening: Opened | None = None
    steps: dict[int, Step] = {}
    sequence = 0
    for record in records:
        if isinstance(record, Opened):
            if opening is not None:
                raise _contradiction(where, "it is opened twice")
            opening = record
        elif isinstance(record, Begun):
            if record.sequence != sequence:
                raise _contradiction(where, f"step {sequence} is missing, or there twice")
            sequence += 1
            try:
                steps[record.number] = step_of(record.step)
            except (ValueError, RecursionError) as error:
                raise OutputError(
                    f"{where} holds a step that this version of kvmlab does not know.",
                    todo="Restore with the version that wrote it, or undo it by hand.",
                    evidence=f"{error}\n{json.dumps(record.step)[:2000]}",
                ) from error
        else:
            steps.pop(record.number, None)
    return JournalContent(name, opening, tuple(steps.items()))


def _contradiction(where: str, what: str) -> OutputError:
    return OutputError(
        f"{where} contradicts itself: {what}.",
        todo="Undo by hand what its lines list, then remove the file.",
    )


def _unknown_format(where: str, line: str) -> OutputError:
    return OutputError(
        f"{where} is not a journal that this version of kvmlab can read, or its beginning is "
        "damaged.",
        todo="Restore with the version that wrote it, or undo by hand what it lists.",
        evidence=line[:500],
    )


def _sum(name: str, text: str) -> str:
    raw = f"{name}\0{text}".encode(errors="surrogateescape")
    return hashlib.sha256(raw).hexdigest()[:_SUM_DIGITS]
