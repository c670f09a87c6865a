"""Progress files of a class of three seats, and a board that is served."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kvmlab.classroom import Board

NOW = datetime(2026, 11, 28, 10, 0, tzinfo=UTC)


def line(minutes_ago: float, task: str, event: str, **fields: object) -> str:
    time = (NOW - timedelta(minutes=minutes_ago)).isoformat(timespec="seconds")
    notebook = task[:2] if task[:2].isdigit() else ""
    return json.dumps(
        {
            "time": time,
            "task": task,
            "event": event,
            "notebook": notebook,
            **fields,
        },
        ensure_ascii=False,
    )


SEATS = {
    "alice": [
        line(50, "02-1", "start"),
        line(48, "02-1", "check", result="failed"),
        line(45, "02-1", "check", result="passed", seconds=300),
        line(40, "02-2", "start"),
        line(30, "incident-seed7-level2", "start"),
        line(20, "incident-seed7-level2", "hint", hints=1, seconds=300),
        line(12, "incident-seed7-level2", "check", result="passed", hints=1, seconds=600),
    ],
    "bob <script>alert(1)</script>": [],
    "张伟": [
        line(25, "02-1", "start"),
        line(20, "02-1", "check", result="failed"),
        line(9, "02-1", "help"),
    ],
    "carol": [
        line(55, "03-1", "start"),
        line(5, "03-1", "solve"),
        line(4, "incident-port-delay", "start"),
    ],
}


def class_folder(folder: Path) -> Path:
    """Write the class's files; the name that is none is left out, as `collect` would refuse it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in SEATS.items():
        if "<" not in name:
            (folder / f"{name}.jsonl").write_text("".join(f"{one}\n" for one in lines))
    return folder


@contextmanager
def served(board: Board) -> Iterator[Board]:
    """Serve a board inside the block."""
    thread = threading.Thread(target=board.serve, daemon=True)
    thread.start()
    try:
        yield board
    finally:
        board.close()
        thread.join()
