"""The journal: every step on disk before it is made, so that what dies can be put right.

It is kept on this machine, and for a host that others may use as well on that host too: whoever
comes there next can put it right without this machine.

One file of JSON lines for each change: ``open``, then ``making`` before each step, ``undone`` after
its undo. It is removed when everything is undone. The process that writes it holds a lock on it; a
journal whose lock is free belongs to a run that died.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from kvmlab.changes.keeper import OnHost
from kvmlab.changes.lock import keeper_of
from kvmlab.changes.state_dir import host_key, private_dir, state_dir
from kvmlab.changes.steps import Step, step_from_dict
from kvmlab.errors import ChangeError, HostError, OutputError

if TYPE_CHECKING:
    from kvmlab.hosts import Host

FORMAT: Final = 1


class Journal:
    """A journal open for writing; every line is on disk before the call returns."""

    def __init__(self, path: Path, descriptor: int, host: Host) -> None:
        self.path = path
        self._descriptor = descriptor
        self._host = host

    @classmethod
    def begin(cls, host: Host, *, scheme: str, domain: str) -> Self:
        """Start a journal for one change; the host is `locked` by the caller."""
        now = datetime.now(UTC)
        folder = private_dir(journal_dir(host))
        path = folder / f"{now:%Y%m%dT%H%M%S.%f}-{os.getpid()}-{scheme}.jsonl"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        journal = cls(path, os.open(path, flags, 0o600), host)
        fcntl.flock(journal._descriptor, fcntl.LOCK_EX)
        journal._begin(
            {
                "event": "open",
                "format": FORMAT,
                "scheme": scheme,
                "host": host.spec,
                "domain": domain,
                "pid": os.getpid(),
                "at": now.isoformat("T", "milliseconds"),
            },
        )
        _sync_folder(folder)
        return journal

    @classmethod
    def resume(cls, path: Path, host: Host) -> Self | None:
        """Take over the journal of a run that died; None where its run is alive."""
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return cls(path, descriptor, host)

    def making(self, steps: Sequence[Step], numbers: Sequence[int]) -> None:
        """Note that these steps are about to be made.

        Raises:
            HostUnreachable, HostError: the host cannot note it; then nothing may be made.
        """
        self._write(
            *(
                {"event": "making", "number": number, "step": step.to_dict()}
                for number, step in zip(numbers, steps, strict=True)
            )
        )

    def undone(self, numbers: Sequence[int]) -> None:
        """Note that these steps are undone."""
        # Less may be said, on the host or on a full disk: what is undone already needs nothing when
        # it is undone again, and nothing may keep the next step from being undone.
        with suppress(ChangeError):
            self._write(
                *({"event": "undone", "number": number} for number in numbers), here_only=True
            )

    def finish(self) -> None:
        """Everything is undone: the journal goes, here and on the host."""
        keeper = keeper_of(self._host)
        if keeper is not None:
            # A copy that cannot be removed is found by the next restore, which has nothing to do.
            with suppress(HostError):
                keeper.gone(self.path.name)
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def abandon(self) -> None:
        """Something is left to undo: the journal stays for `restore`."""
        os.close(self._descriptor)

    def _begin(self, event: dict[str, Any]) -> None:
        try:
            self._write(event)
        except BaseException:
            self.finish()
            raise

    def _write(self, *events: dict[str, Any], here_only: bool = False) -> None:
        text = "".join(json.dumps(event) + "\n" for event in events)
        try:
            # A disk that is full may take a part, which a reader leaves out.
            whole = os.write(self._descriptor, text.encode()) == len(text.encode())
            os.fsync(self._descriptor)
        except OSError as error:
            raise _unwritten(self.path, error.strerror or str(error)) from error
        if not whole:
            raise _unwritten(self.path, "no space left on the device")
        keeper = keeper_of(self._host)
        if keeper is not None and not here_only:
            keeper.note(self.path.name, text)


@dataclass(frozen=True)
class Record:
    """What a journal says: which steps were begun and not undone, in the order of making."""

    path: Path
    scheme: str
    domain: str
    pid: int
    at: str
    open_steps: tuple[tuple[int, Step], ...]


def journal_dir(host: Host) -> Path:
    """The directory of this host's journals."""
    return state_dir() / "journal" / host_key(host.spec)


def read_journal(path: Path) -> Record:
    """Read one journal.

    A last line that was cut short by a crash is left out: its step was not begun, since a step
    begins only after its line is on disk. A journal without any line stands for nothing begun.

    Raises:
        OutputError: not a journal, or one of another format.
    """
    return parse_journal(path, path.read_text(encoding="utf-8"))


def _record(path: Path, events: list[dict[str, Any]]) -> Record:
    if not events:
        return Record(path, "", "", 0, "", ())
    if events[0].get("event") != "open" or events[0].get("format") != FORMAT:
        raise OutputError(
            f"{path} is not a journal that this version of kvmlab can read.",
            todo="Restore with the version that wrote it, or undo by hand what it lists.",
        )
    steps: dict[int, Step] = {}
    for event in events[1:]:
        if event["event"] == "making":
            steps[event["number"]] = step_from_dict(event["step"])
        elif event["event"] == "undone":
            steps.pop(event["number"], None)
    head = events[0]
    return Record(
        path, head["scheme"], head["domain"], head["pid"], head["at"], tuple(steps.items())
    )


def dead_journals(host: Host) -> tuple[Path, ...]:
    """The journals of runs on this host that ended without undoing everything, oldest first."""
    folder = journal_dir(host)
    return tuple(path for path in sorted(folder.glob("*.jsonl")) if not _alive(path))


def adopt(host: Host, found: OnHost) -> None:
    """Take over the journals that only the host has; the host is `locked` by the caller.

    Their lab ran on another machine, or its state here is gone.
    """
    folder = private_dir(journal_dir(host))
    for name, text in found.journals.items():
        path = folder / name
        if path.parent != folder or path.exists():
            continue
        path.write_text(text, encoding="utf-8")
    _sync_folder(folder)


def alive_here(host: Host, name: str) -> bool:
    """Whether the journal of that name belongs to a run of this machine that is alive."""
    path = journal_dir(host) / name
    return path.exists() and _alive(path)


def parse_journal(path: Path, text: str) -> Record:
    """What the journal with this text says; ``path`` is for messages. Raises as `read_journal`."""
    return _record(path, list(_events(path, text)))


def _alive(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True  # it has just ended well
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _events(path: Path, text: str) -> Iterator[dict[str, Any]]:
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


def _unwritten(path: Path, why: str) -> ChangeError:
    return ChangeError(
        f"The journal {path} cannot be written: {why}. What is not in the journal is not changed.",
        todo="Free some space there, or set KVMLAB_STATE_HOME to a folder on another disk.",
    )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
