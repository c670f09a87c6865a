"""The job of a worker: run a `kvmlab` command for one host and bring back the files it wrote.

The command is a process of its own, so a crash of it is not the worker's. It gets SIGTERM when the
worker dies, and restores its host; if it is killed as well, the host keeps the journal, as with any
lab.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from kvmlab.errors import EXIT_OK, EXIT_REVERT_FAILED, EXIT_SKIPPED, UsageError, reason_of
from kvmlab.fleet.inventory import FleetHost

OUT: Final = "{out}"
"""In the words of a job: replaced by a folder on the worker whose content is brought back."""
_MOST_OUTPUT: Final = 1_000_000
_MOST_ARCHIVE: Final = 256_000_000
_RESTORE_SEC: Final = 300.0


class Status(StrEnum):
    """The outcome of a job."""

    OK = "ok"
    PROBLEM = "problem"
    FAILED = "failed"
    NOT_RESTORED = "not restored"
    WORKER_DIED = "worker died"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class HostOutcome:
    """The outcome of one host's job; ``archive`` is a gzipped tar of the files it wrote."""

    host: str
    status: Status
    exit_code: int = -1
    message: str = ""
    stdout: str = ""
    elapsed_sec: float = 0.0
    archive: bytes = field(default=b"", repr=False)

    @property
    def failed(self) -> bool:
        """Tell whether it counts as a failure of the rollout."""
        return self.status not in (Status.OK, Status.PROBLEM)

    @property
    def may_be_changed(self) -> bool:
        """Tell whether its host may be left as the job had changed it."""
        return self.status in (Status.NOT_RESTORED, Status.WORKER_DIED)


@dataclass(frozen=True)
class HostJob:
    """A `kvmlab` command for one host, as words without the program's name."""

    host: FleetHost
    words: tuple[str, ...]
    timeout_sec: float = 7200.0

    def run(self, stop: Callable[[], bool] = lambda: False) -> HostOutcome:
        """Run the command on this machine and return its outcome; a failure is an outcome too.

        Past the deadline, or when ``stop`` says so (asked once a second), the command gets SIGTERM,
        on which `kvmlab` restores its host. It gets the same when the worker dies.
        """
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="kvmlab-fleet-") as scratch:
            out, stdout, stderr = (Path(scratch) / name for name in ("out", "stdout", "stderr"))
            words = [word.replace(OUT, str(out)) for word in self.words]
            argv = ("setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "kvmlab", *words)
            with stdout.open("wb") as to_out, stderr.open("wb") as to_err:
                try:
                    child = subprocess.Popen(
                        argv,
                        stdin=subprocess.DEVNULL,
                        stdout=to_out,
                        stderr=to_err,
                        process_group=0,
                    )
                except OSError as error:
                    text = f"`{argv[0]}` cannot be started: {reason_of(error)}."
                    return HostOutcome(self.host.name, Status.FAILED, message=text)
                reason = self._wait(child, stop)
            code = child.returncode
            errors = stderr.read_text("utf-8", errors="replace")
            return HostOutcome(
                self.host.name,
                _status(code, is_check=self.words[:1] == ("doctor",)),
                exit_code=code,
                message=f"{reason}\n{_message(code, errors)}".strip(),
                stdout=stdout.read_text("utf-8", errors="replace")[-_MOST_OUTPUT:],
                elapsed_sec=time.monotonic() - started,
                archive=_packed(out),
            )

    def _wait(self, child: subprocess.Popen[bytes], stop: Callable[[], bool]) -> str:
        """Wait for the command's end; return why it was ended early, "" where it was not."""
        deadline = time.monotonic() + self.timeout_sec
        reason = ""
        while True:
            try:
                child.wait(1.0)
                return reason
            except subprocess.TimeoutExpired:
                late = time.monotonic() > deadline
            if not reason and (late or stop()):
                limit = f"It did not end within {self.timeout_sec:g} s."
                reason = limit if late else "The rollout was interrupted."
                deadline = time.monotonic() + _RESTORE_SEC
                child.terminate()
            elif reason and late:
                child.kill()
                child.wait()
                return f"{reason} Its host was not restored within {_RESTORE_SEC:g} s."


def _status(code: int, *, is_check: bool) -> Status:
    if code == EXIT_OK:
        return Status.OK
    if code == EXIT_SKIPPED and is_check:
        return Status.PROBLEM
    killed = code < 0 and not is_check
    return Status.NOT_RESTORED if code == EXIT_REVERT_FAILED or killed else Status.FAILED


def _message(code: int, errors: str) -> str:
    """Return the end of what the command printed on standard error, where it failed."""
    if code == EXIT_OK:
        return ""
    lines = [line for line in errors.strip().splitlines() if line.strip()]
    return "\n".join(lines[-8:])[-2000:] or f"The command ended with {code}."


def _packed(out: Path) -> bytes:
    if not out.is_dir():
        return b""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(out, arcname=".")
    return buffer.getvalue()


def unpack(archive: bytes, folder: Path) -> None:
    """Write what a job brought back into ``folder``, which must not exist.

    A worker may be another machine: nothing of the archive leaves the folder, and only plain files
    and folders are made.

    Raises:
        UsageError: the archive is damaged, too large, or holds something else.
    """
    top = folder.resolve()
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as packed:
            size = 0
            for member in packed:
                size += member.size
                if size > _MOST_ARCHIVE:
                    raise _refused(folder, f"is larger than {_MOST_ARCHIVE} bytes")
                target = (top / member.name).resolve()
                if not target.is_relative_to(top):
                    raise _refused(folder, f"holds {member.name!r}, which leads out of its folder")
                if member.isdir():
                    target.mkdir(parents=True, exist_ok=True, mode=0o700)
                elif member.isreg() and (content := packed.extractfile(member)) is not None:
                    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                    target.write_bytes(content.read())
                else:
                    raise _refused(
                        folder, f"holds {member.name!r}, which is neither a file nor a folder"
                    )
    except (tarfile.TarError, OSError, EOFError) as error:
        raise _refused(folder, f"cannot be unpacked: {error}") from error


def _refused(folder: Path, reason: str) -> UsageError:
    return UsageError(
        f"What came back for {folder.name} {reason}.",
        todo="Look at the worker that it came from, or run this host by itself.",
    )
