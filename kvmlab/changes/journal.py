"""The journal: every step is on disk before it is applied, so that a dead run can be undone.

It is written on this machine, and for a host that others may use as well on that host too: whoever
comes there next can restore it without this machine. Each change has a journal of its own, in the
format of `kvmlab.changes.journal_format`; it is removed when everything is undone. The process that
writes it has a file lock on it; a journal whose lock is free belongs to a run that died.

The host's copy stays on the host: it is read, never taken over, so that it cannot be used on
another one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kvmlab.changes.host_lock import FOLDER, LabState
from kvmlab.changes.journal_format import (
    FORMAT,
    Begun,
    Opened,
    Record,
    Undone,
    record_line,
    step_record,
)
from kvmlab.changes.lab_lock import host_lock_of, identity_of
from kvmlab.changes.rollback import undo_script
from kvmlab.changes.steps import Step
from kvmlab.directories import private_dir, state_dir
from kvmlab.errors import ChangeError, HostError, reason_of
from kvmlab.file_locks import FileLock, is_locked
from kvmlab.hosts.uri import host_key, legacy_host_key

if TYPE_CHECKING:
    from kvmlab.hosts import Host


class ChangeJournal:
    """A journal open for writing; every record is on disk when the call returns.

    ``path`` is the copy on this machine, None where only the host has one.
    """

    def __init__(
        self, name: str, path: Path | None, file_lock: FileLock | None, host: Host
    ) -> None:
        self.name = name
        self.path = path
        self._file_lock = file_lock
        self._host = host
        self._sequence = 0
        self._steps: list[tuple[int, Step]] = []

    @classmethod
    def begin(cls, host: Host, *, scheme: str, domain: str) -> Self:
        """Start a journal for one change; the caller has the host `locked`."""
        now = datetime.now(UTC)
        folder = private_dir(journal_dir(host), must_own=False)
        path = folder / f"{_stamp_after(folder, now)}-{os.getpid()}-{scheme}.jsonl"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        os.fchmod(descriptor, 0o600)  # whatever the umask is
        journal = cls(path.name, path, FileLock.on_descriptor(descriptor, wait=True), host)
        identity = identity_of(host)
        journal._begin(
            Opened(
                format=FORMAT,
                scheme=scheme,
                host=host.spec,
                machine=identity.machine,
                boot=identity.boot,
                domain=domain,
                pid=os.getpid(),
                at=now.isoformat("T", "milliseconds"),
            )
        )
        _sync_folder(folder)
        return journal

    @classmethod
    def resume(cls, journal: DeadJournal, host: Host) -> Self | None:
        """Take over the journal of a run that died; return None where its run is alive."""
        if journal.path is None:
            return cls(journal.name, None, None, host)
        try:
            descriptor = os.open(journal.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            return None  # it has just ended well
        file_lock = FileLock.on_descriptor(descriptor)
        return None if file_lock is None else cls(journal.name, journal.path, file_lock, host)

    def begin_steps(self, steps: Sequence[Step], numbers: Sequence[int]) -> None:
        """Record that these steps are about to be applied.

        Raises:
            HostUnreachable, HostError: the host cannot record it; then nothing may be applied.
        """
        records = [
            Begun(sequence=sequence, number=number, step=step_record(step))
            for sequence, (number, step) in enumerate(
                zip(numbers, steps, strict=True), self._sequence
            )
        ]
        self._steps += zip(numbers, steps, strict=True)
        self._write(*records, undo=self._undo_script())
        self._sequence += len(records)

    def note_undone(self, numbers: Sequence[int]) -> None:
        """Record that these steps are undone."""
        # The record may be missing, on the host or on a full disk: undoing a step again does
        # nothing, and a failure here must not keep the next step from being undone.
        with suppress(ChangeError):
            self._write(*(Undone(number=number) for number in numbers), here_only=True)

    def finish(self) -> None:
        """Remove the journal, here and on the host: everything is undone."""
        host_lock = host_lock_of(self._host)
        if host_lock is not None:
            # The next restore finds a copy that is left, and has nothing to undo.
            with suppress(HostError):
                host_lock.remove(self.name)
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        self.abandon()

    def abandon(self) -> None:
        """Close the journal and leave it for `restore`: something is left to undo."""
        if self._file_lock is not None:
            self._file_lock.close()

    def _begin(self, record: Opened) -> None:
        try:
            self._write(record)
        except BaseException:
            self.finish()
            raise

    def _undo_script(self) -> str:
        host_lock = host_lock_of(self._host)
        if host_lock is None or not host_lock.confirms:
            return ""
        path = (
            "session" if self._host.libvirt_uri.partition("?")[0].endswith("/session") else "system"
        )
        return undo_script(self.name, self._steps, libvirt_uri=f"qemu:///{path}")

    def _write(self, *records: Record, undo: str = "", here_only: bool = False) -> None:
        text = "".join(record_line(self.name, record) for record in records)
        if self.path is not None and self._file_lock is not None:
            self._append(text.encode(), self.path, self._file_lock.descriptor)
        host_lock = host_lock_of(self._host)
        if host_lock is not None and not here_only:
            host_lock.note(self.name, text, undo=undo)

    @staticmethod
    def _append(data: bytes, path: Path, descriptor: int) -> None:
        size_before = os.fstat(descriptor).st_size
        try:
            complete = os.write(descriptor, data) == len(data)
            os.fsync(descriptor)
        except OSError as error:
            raise _unwritten(path, reason_of(error)) from error
        if not complete:
            # A full disk may take a part, to which the next line must not be appended.
            with suppress(OSError):
                os.ftruncate(descriptor, size_before)
            raise _unwritten(path, "no space left on the device")


class DeadJournal:
    """The copies of one journal of a dead run: on this machine, on the host, or both."""

    def __init__(self, name: str, path: Path | None, on_host: str | None) -> None:
        self.name = name
        self.path = path
        self._on_host = on_host

    @property
    def copies(self) -> dict[str, str]:
        """The texts, by where each is."""
        copies = {}
        if self.path is not None:
            # Whatever a crash has made of it: the checksums tell.
            with suppress(FileNotFoundError):
                copies[str(self.path)] = self.path.read_text(encoding="utf-8", errors="replace")
        if self._on_host is not None:
            copies[f"{FOLDER}/journal/{self.name} on the host"] = self._on_host
        return copies

    @property
    def shown_path(self) -> Path:
        """Its place, for messages: here, else on the host."""
        return self.path if self.path is not None else Path(FOLDER, "journal", self.name)


def journal_dir(host: Host) -> Path:
    """Return the directory of this host's journals."""
    return state_dir() / "journal" / host_key(host.spec)


def dead_journals(host: Host, state: LabState | None = None) -> tuple[DeadJournal, ...]:
    """Return the journals of dead runs on this host, here and in its ``state``, oldest first."""
    paths = [path for path in sorted(journal_dir(host).glob("*.jsonl")) if not _alive(path)]
    paths += _legacy_journals(host)
    on_host = state.journals if state is not None else {}
    journals = {path.name: DeadJournal(path.name, path, on_host.get(path.name)) for path in paths}
    for name, text in on_host.items():
        if name not in journals and not _alive_here(host, name):
            journals[name] = DeadJournal(name, None, text)
    return tuple(journals[name] for name in sorted(journals))


def _legacy_journals(host: Host) -> list[Path]:
    """Find journals of kvmlab before journals had checksums, which shared folders."""
    folder = state_dir() / "journal" / legacy_host_key(host.spec)
    paths = []
    for path in sorted(folder.glob("*.jsonl")):
        with suppress(OSError, ValueError, RecursionError):
            head = json.loads(path.read_text(encoding="utf-8").partition("\n")[0])
            if isinstance(head, dict) and head.get("host") == host.spec and not _alive(path):
                paths.append(path)
    return paths


def _alive_here(host: Host, name: str) -> bool:
    """Return whether the journal of that name belongs to a live run of this machine."""
    path = journal_dir(host) / name
    return path.exists() and _alive(path)


def _alive(path: Path) -> bool:
    # A journal that is gone has just ended well.
    return is_locked(path, missing=True)


def _unwritten(path: Path, why: str) -> ChangeError:
    return ChangeError(
        f"The journal {path} cannot be written: {why}. What is not in the journal is not changed.",
        todo="Free some space there, or set KVMLAB_STATE_HOME to a folder on another disk.",
    )


def _stamp_after(folder: Path, now: datetime) -> str:
    """Return the time stamp of a new journal's name, later than all existing ones.

    The newest journal is undone first, also where the clock was set back between two of them.
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
