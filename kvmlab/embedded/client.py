"""The client's side of a supervisor: start one, find those that run, talk to one."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from kvmlab import directories
from kvmlab.embedded import messages
from kvmlab.embedded.host_config import HostConfig
from kvmlab.embedded.machine import console_tail
from kvmlab.errors import EmbeddedError, HostBusy, HostUnreachable, MachineDied, reason_of
from kvmlab.file_locks import FileLock
from kvmlab.language import ENGLISH, VARIABLE

Progress = Callable[[str], None]

SHARED = "shared"
OWN = "own-"
ANSWER_SEC = 20.0
# A lease may wait for another process's cold boot, and then do its own.
LEASE_SEC = 1200.0
SAVE_SEC = 400.0
END_SEC = 15.0


class Connection:
    """An open connection to a supervisor. One that has leased the host is the lease."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with messages.short_path(run_dir) as address:
                self._socket.connect(address)
        except OSError as error:
            self._socket.close()
            raise HostUnreachable(
                f"The supervisor of the embedded host in {run_dir} does not answer: "
                f"{reason_of(error)}.",
                todo="The host has ended; start it again.",
            ) from error
        self._lines = self._socket.makefile("rb")

    def request(
        self,
        name: str,
        *,
        timeout_sec: float = ANSWER_SEC,
        progress: Progress = lambda text: None,
        **arguments: object,
    ) -> dict[str, Any]:
        """Send the request ``name``; pass lines of progress to ``progress``; return the answer.

        Raises:
            KvmlabError: the supervisor's own, as it sent it.
            MachineDied: the supervisor has gone; the evidence is the end of the console.
            HostUnreachable: no answer in time.
        """
        deadline = time.monotonic() + timeout_sec
        with self._lock:
            try:
                self._socket.settimeout(timeout_sec)
                self._socket.sendall(messages.encode({"do": name, **arguments}))
                while True:
                    left = deadline - time.monotonic()
                    self._socket.settimeout(max(0.01, left))
                    line = self._lines.readline(messages.LINE_LIMIT)
                    if not line:
                        raise ConnectionResetError("connection closed")
                    message = messages.decode(line)
                    if "say" in message:
                        progress(str(message["say"]))
                    elif "error" in message:
                        raise messages.to_error(message["error"])
                    else:
                        return dict(message["ok"])
            except TimeoutError as error:
                raise HostUnreachable(
                    f"The supervisor of the embedded host did not answer `{name}` within "
                    f"{timeout_sec:g} s.",
                    todo="End the host with `kvmlab host down` and start it again.",
                ) from error
            except (ConnectionError, ValueError, OSError) as error:
                raise MachineDied(
                    "The embedded host has ended: its supervisor is gone.",
                    todo="Start the host again; it comes back in its clean state.",
                    evidence=console_tail(self.run_dir / "console.log"),
                ) from error

    def close(self) -> None:
        """Close the connection; ends the lease."""
        self._lines.close()
        self._socket.close()


@dataclass(frozen=True)
class RunningHost:
    """A host whose supervisor runs."""

    config: HostConfig

    @property
    def run_dir(self) -> Path:
        """The host's run directory."""
        return self.config.run_dir

    @property
    def shared(self) -> bool:
        """True for the host that `kvmlab host up` has started."""
        return self.run_dir.name == SHARED

    def connect(self) -> Connection:
        """Open a connection to its supervisor."""
        return Connection(self.run_dir)

    def request(self, request: str) -> dict[str, Any]:
        """Send one request over a connection of its own; return the answer."""
        connection = self.connect()
        try:
            return connection.request(request)
        finally:
            connection.close()


class OwnedSupervisor:
    """A supervisor that this process has started; it ends when this object or the process does."""

    def __init__(
        self, config: HostConfig, process: subprocess.Popen[bytes], log: IO[bytes]
    ) -> None:
        self.host = RunningHost(config)
        self._process = process
        # Open until the end: a supervisor that fails removes its run directory, log included.
        self._log = log

    def detach(self) -> None:
        """Let the host outlive this process."""
        self.host.request("detach")
        self._close_pipe()
        self._log.close()
        # It is no child to wait for any more; without this, Popen would warn about it.
        self._process.returncode = 0

    def close(self) -> None:
        """End the host and wait until nothing of it is left, at most `END_SEC` seconds."""
        self._close_pipe()
        self._log.close()
        try:
            self._process.wait(END_SEC)
        except subprocess.TimeoutExpired:
            # The kernel kills QEMU with it.
            self._process.kill()
            self._process.wait()
            shutil.rmtree(self.host.run_dir, ignore_errors=True)

    def log_tail(self) -> str:
        """Return the end of an ended supervisor's log (3,000 bytes); "" while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
            self._log.seek(0)
            return self._log.read()[-3000:].decode(errors="replace")
        return ""

    def _close_pipe(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()


def start_supervisor(config: HostConfig, *, shared: bool) -> OwnedSupervisor:
    """Start a supervisor for ``config`` in a new run directory. No host is started yet.

    Raises:
        HostBusy: a shared host is wanted and there is one already.
    """
    with _run_dir(shared) as (run_dir, lock):
        config = replace(config, run_dir=run_dir)
        try:
            config.write()
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
                with messages.short_path(run_dir) as address:
                    listener.bind(address)
                (run_dir / messages.SOCKET).chmod(0o600)
                listener.listen(16)
                log = (run_dir / "supervisor.log").open("w+b")
                process = _spawn(run_dir, listener.fileno(), lock.descriptor, log)
        except BaseException as error:
            shutil.rmtree(run_dir, ignore_errors=True)
            if not isinstance(error, OSError):
                raise
            raise EmbeddedError(
                f"The supervisor of the embedded host could not be started in {run_dir}: "
                f"{reason_of(error)}.",
                todo="See that the directory can be written to and its disk is not full.",
            ) from error
    return OwnedSupervisor(config, process, log)


def _spawn(run_dir: Path, listener: int, lock: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    package = Path(__file__).parents[2]
    search = os.pathsep.join(filter(None, (str(package), os.environ.get("PYTHONPATH", ""))))
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "kvmlab.embedded.supervisor", str(run_dir)),
            *("--listener", str(listener), "--lock", str(lock)),
        ],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        # What it says is translated by those who read it.
        env={**os.environ, "PYTHONPATH": search, VARIABLE: ENGLISH},
        cwd="/",
        pass_fds=(listener, lock),
        # Ctrl-C in the terminal is the client's; the supervisor hears of it by the pipe.
        start_new_session=True,
    )


@contextlib.contextmanager
def _run_dir(shared: bool) -> Iterator[tuple[Path, FileLock]]:
    """Make a run directory and lock it. The supervisor inherits the lock, which closes here."""
    runtime = directories.runtime_dir()
    with _locked_run_dirs(runtime):
        _sweep(runtime)
        if shared:
            run_dir = runtime / SHARED
            try:
                run_dir.mkdir(mode=0o700)
            except FileExistsError:
                raise HostBusy(
                    "A shared embedded host is there already.",
                    todo="Use that one, or end it with `kvmlab host down`.",
                ) from None
        else:
            run_dir = Path(tempfile.mkdtemp(dir=runtime, prefix=OWN))
        lock = FileLock.take(run_dir / "lock")
        if lock is None:
            raise EmbeddedError(f"Another process locked {run_dir}, which is new.")
    try:
        yield run_dir, lock
    finally:
        lock.close()


def _locked_run_dirs(runtime: Path) -> FileLock:
    return FileLock.wait_for(
        runtime / "lock",
        timeout_sec=ANSWER_SEC,
        what="the directory of running hosts",
        error=EmbeddedError,
    )


def running_hosts() -> tuple[RunningHost, ...]:
    """Return this user's running hosts, the shared one first; remove what ended ones left."""
    runtime = directories.runtime_dir()
    with _locked_run_dirs(runtime):
        _sweep(runtime)
        hosts = [host for run_dir in _run_dirs(runtime) if (host := find_running(run_dir))]
    return tuple(sorted(hosts, key=lambda host: (not host.shared, host.run_dir.name)))


def find_running(run_dir: Path) -> RunningHost | None:
    """Return the host of ``run_dir``; None where this version cannot read its configuration."""
    try:
        return RunningHost(HostConfig.read(run_dir))
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _sweep(runtime: Path) -> None:
    """Remove run directories whose supervisor is gone; the caller holds the lock of ``runtime``."""
    for run_dir in _run_dirs(runtime):
        lock = FileLock.take(run_dir / "lock")
        if lock is not None:
            shutil.rmtree(run_dir, ignore_errors=True)
            lock.close()


def _run_dirs(runtime: Path) -> list[Path]:
    """Return the run directories of hosts; connections to hosts have theirs beside them."""
    return [
        entry
        for entry in runtime.iterdir()
        if (entry.name == SHARED or entry.name.startswith(OWN)) and entry.is_dir()
    ]


def command_line() -> str:
    """Return the command line of this process, for messages about who uses a host."""
    raw = Path("/proc/self/cmdline").read_bytes().split(b"\0")
    return json.dumps(" ".join(word.decode(errors="replace") for word in raw if word))[1:-1][:200]
