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
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from kvmlab.changes.keeper import OnHost
from kvmlab.changes.lock import boot_of, keeper_of
from kvmlab.changes.record import FORMAT
from kvmlab.changes.state_dir import host_key, private_dir, state_dir
from kvmlab.changes.steps import Step
from kvmlab.errors import ChangeError, HostError

if TYPE_CHECKING:
    from kvmlab.hosts import Host


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
        path = folder / f"{_stamp_after(folder, now)}-{os.getpid()}-{scheme}.jsonl"
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
                "boot": boot_of(host),
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
        before = os.fstat(self._descriptor).st_size
        try:
            whole = os.write(self._descriptor, text.encode()) == len(text.encode())
            os.fsync(self._descriptor)
        except OSError as error:
            raise _unwritten(self.path, error.strerror or str(error)) from error
        if not whole:
            # A disk that is full may take a part, to which the next line must not be added.
            with suppress(OSError):
                os.ftruncate(self._descriptor, before)
            raise _unwritten(self.path, "no space left on the device")
        keeper = keeper_of(self._host)
        if keeper is not None and not here_only:
            keeper.note(self.path.name, text)


def journal_dir(host: Host) -> Path:
    """The directory of this host's journals."""
    return state_dir() / "journal" / host_key(host.spec)


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
        # Whole or not at all: half of one would stand for all of it from then on.
        part = path.with_suffix(".part")
        try:
            part.write_text(text, encoding="utf-8")
            with part.open("rb") as written:
                os.fsync(written.fileno())
            part.rename(path)
        except OSError as error:
            raise _unwritten(path, error.strerror or str(error)) from error
    _sync_folder(folder)


def alive_here(host: Host, name: str) -> bool:
    """Whether the journal of that name belongs to a run of this machine that is alive."""
    path = journal_dir(host) / name
    return path.exists() and _alive(path)


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


def _unwritten(path: Path, why: str) -> ChangeError:
    return ChangeError(
        f"The journal {path} cannot be written: {why}. What is not in the journal is not changed.",
        todo="Free some space there, or set KVMLAB_STATE_HOME to a folder on another disk.",
    )


def _stamp_after(folder: Path, now: datetime) -> str:
    """The time as journals are named after it, later than all that are there.

    The newest is undone first, also where the clock was set back between two of them.
    """
    stamp = f"{now:%Y%m%dT%H%M%S.%f}"
    newest = max((path.name.partition("-")[0] for path in folder.glob("*.jsonl")), default="")
    if stamp > newest:
        return stamp
    with suppress(ValueError):
        after = datetime.strptime(newest, "%Y%m%dT%H%M%S.%f") + timedelta(microseconds=1)
        return f"{after:%Y%m%dT%H%M%S.%f}"
    return stamp


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
