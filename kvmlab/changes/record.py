"""What a journal says, read by whoever comes after the run that wrote it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from kvmlab.changes.steps import HostStep, Step, step_from_dict
from kvmlab.errors import OutputError

FORMAT: Final = 1


@dataclass(frozen=True)
class Record:
    """What a journal says: which steps were begun and not undone, in the order of making."""

    path: Path
    scheme: str
    domain: str
    pid: int
    at: str
    open_steps: tuple[tuple[int, Step], ...]
    #: The id of the host's boot in which the steps were made; "" where that does not matter.
    boot: str = ""

    def since(self, boot: str) -> Record:
        """What of it is still open in that boot of the host: steps of the host end with theirs.

        A VM may have been kept over the boot with what was plugged into it.
        """
        if not boot or self.boot in ("", boot):
            return self
        kept = tuple(pair for pair in self.open_steps if not isinstance(pair[1], HostStep))
        return replace(self, open_steps=kept)


def read_journal(path: Path) -> Record:
    """Read one journal.

    A last line that was cut short by a crash is left out: its step was not begun, since a step
    begins only after its line is on disk. A journal without any line stands for nothing begun.

    Raises:
        OutputError: not a journal, or one of another format.
    """
    return parse_journal(path, read_text(path))


def read_text(path: Path) -> str:
    """The text of a journal, whatever a crash has made of it."""
    return path.read_text(encoding="utf-8", errors="replace")


def parse_journal(path: Path, text: str) -> Record:
    """What the journal with this text says; ``path`` is for messages. Raises as `read_journal`."""
    events: list[Any] = list(_events(path, text))
    if not events:
        return Record(path, "", "", 0, "", ())
    first = events[0] if isinstance(events[0], dict) else {}
    if first.get("event") != "open" or first.get("format") != FORMAT:
        raise OutputError(
            f"{path} is not a journal that this version of kvmlab can read.",
            todo="Restore with the version that wrote it, or undo by hand what it lists.",
        )
    try:
        return _record(path, events)
    except (KeyError, TypeError) as error:
        raise OutputError(
            f"A line of {path} is not what a journal says.",
            todo="Undo by hand what its lines say, then remove the file.",
            evidence=f"{type(error).__name__}: {error}",
        ) from error


def _record(path: Path, events: list[dict[str, Any]]) -> Record:
    head = events[0]
    steps: dict[int, Step] = {}
    for event in events[1:]:
        if event["event"] == "making":
            steps[event["number"]] = step_from_dict(event["step"])
        elif event["event"] == "undone":
            steps.pop(event["number"], None)
        else:
            raise KeyError(event["event"])
    return Record(
        path,
        head["scheme"],
        head["domain"],
        head["pid"],
        head["at"],
        tuple(steps.items()),
        str(head.get("boot", "")),
    )


def _events(path: Path, text: str) -> Iterator[Any]:
    lines = text.split("\n")
    for number, line in enumerate(lines):
        try:
            if line:
                yield json.loads(line)
        except ValueError as error:
            if number == len(lines) - 1:
                return
            raise OutputError(
                f"Line {number + 1} of {path} is damaged.",
                todo="Undo by hand what the lines around it say, then remove the file.",
                evidence=line[:500],
            ) from error
