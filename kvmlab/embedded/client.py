"""The client's side of a keeper: starting one, finding those that run, talking to one."""

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

from kvmlab.embedded import messages, paths
from kvmlab.embedded.locks import FileLock, held
from kvmlab.embedded.machine import console_tail
from kvmlab.embedded.spec import Spec
from kvmlab.errors import EmbeddedError, HostBusy, HostUnreachable, MachineDied

Progress = Callable[[str], None]

SHARED = "shared"
OWN = "own-"
ANSWER_SEC = 20.0
# A lease may wait for another process's cold boot, and then do its own.
LEASE_SEC = 1200.0
SAVE_SEC = 400.0
END_SEC = 15.0


class Connection:
    """An open connection to a keeper. If it has leased the host, it is the lease."""

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
                f"The keeper of the embedded host in {run_dir} does not answer: "
                f"{error.strerror or error}.",
                todo="The host has ended; start it again.",
            ) from error
        self._lines = self._socket.makefile("rb")

    def ask(
        self,
        request: str,
        *,
        timeout_sec: float = ANSWER_SEC,
        progress: Progress = lambda text: None,
        **arguments: object,
    ) -> dict[str, Any]:
        """Send a request and wait for its answer; each line of progress goes to ``progress``.

        Raises:
            KvmlabError: the keeper's own, as it sent it.
            MachineDied: the keeper has gone; the evidence is the end of the console.
            HostUnreachable: no answer in time.
        """
        deadline = time.monotonic() + timeout_sec
        with self._lock:
            try:
                self._socket.settimeout(timeout_sec)
                self._socket.sendall(messages.encode({"do": request, **arguments}))
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
                    f"The keeper of the embedded host did not answer `{request}` within "
                    f"{timeout_sec:g} s.",
                    todo="End the host with `kvmlab host down` and start it again.",
                ) from error
            except (ConnectionError, ValueError, OSError) as error:
                raise MachineDied(
                    "The embedded host has ended: its keeper is gone.",
                    todo="Start the host again; it comes back in its clean state.",
                    evidence=console_tail(self.run_dir / "console.log"),
                ) from error

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()


@dataclass(frozen=True)
class KeptHost:
    """A host whose keeper was found running."""

    spec: Spec

    @property
    def run_dir(self) -> Path:
        """Its run directory."""
        return self.spec.run_dir

    @property
    def shared(self) -> bool:
        """Whether it was started by `kvmlab host up`."""
        return self.run_dir.name == SHARED

    def connect(self) -> Connection:
        """Open a connection to its keeper."""
        return Connection(self.run_dir)

    def ask(self, request: str) -> dict[str, Any]:
        """One request over a connection of its own."""
        connection = self.connect()
        try:
            return connection.ask(request)
        finally:
            connection.close()


class OwnedKeeper:
    """A keeper that this process has started; it ends when this object or the process does."""

    def __init__(self, spec: Spec, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        self.kept = KeptHost(spec)
        self._process = process
        # Kept open: a keeper that fails removes its run directory, but not what it said.
        self._log = log

    def detach(self) -> None:
        """Let the host outlive this process."""
        self.kept.ask("detach")
        self._let_go()
        self._log.close()
        # Its end is nobody's business here any more; without this, Popen would warn about it.
        self._process.returncode = 0

    def close(self) -> None:
        """End the host and wait until nothing of it is left."""
        self._let_go()
        self._log.close()
        try:
            self._process.wait(END_SEC)
        except subprocess.TimeoutExpired:
            # QEMU dies with it by the kernel's doing.
            self._process.kill()
            self._process.wait()
            shutil.rmtree(self.kept.run_dir, ignore_errors=True)

    def last_words(self) -> str:
        """The end of what a keeper that has ended printed; nothing while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
            self._log.seek(0)
            return self._log.read()[-3000:].decode(errors="replace")
        return ""

    def _let_go(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()


def start_keeper(spec: Spec, *, shared: bool) -> OwnedKeeper:
    """Start a keeper for ``spec``, whose run directory is chosen here. No host is started yet.

    Raises:
        HostBusy: a shared host is wanted and there is one already.
    """
    with _run_dir(shared) as (run_dir, lock):
        spec = replace(spec, run_dir=run_dir)
        try:
            spec.write()
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
                with messages.short_path(run_dir) as address:
                    listener.bind(address)
                (run_dir / messages.SOCKET).chmod(0o600)
                listener.listen(16)
                log = (run_dir / "keeper.log").open("w+b")
                process = _spawn(run_dir, listener.fileno(), lock.descriptor, log)
        except BaseException as error:
            shutil.rmtree(run_dir, ignore_errors=True)
            if not isinstance(error, OSError):
                raise
            raise EmbeddedError(
                f"The keeper of the embedded host could not be started in {run_dir}: "
                f"{error.strerror or error}.",
                todo="See that the directory can be written to and its disk is not full.",
            ) from error
    return OwnedKeeper(spec, process, log)


def _spawn(run_dir: Path, listener: int, lock: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    package = Path(__file__).parents[2]
    search = os.pathsep.join(filter(None, (str(package), os.environ.get("PYTHONPATH", ""))))
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "kvmlab.embedded.keeper", str(run_dir)),
            *("--listener", str(listener), "--lock", str(lock)),
        ],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        env={**os.environ, "PYTHONPATH": search},
        cwd="/",
        pass_fds=(listener, lock),
        # Ctrl-C in the terminal is the client's; the keeper hears of it by the pipe.
        start_new_session=True,
    )


@contextlib.contextmanager
def _run_dir(shared: bool) -> Iterator[tuple[Path, FileLock]]:
    """A fresh run directory, locked. The lock closes here; the keeper holds its copy of it."""
    runtime = paths.runtime_dir()
    with held(runtime / "lock", timeout_sec=ANSWER_SEC, what="the directory of running hosts"):
        _sweep(runtime)
        if shared:
            run_dir = runtime / SHARED
            try:
                run_dir.mkdir(mode=0o700)
            except FileExistsError:
                raise HostBusy(
                    "A shared embedded host is there already.",
                    todo="Use it, or end it with `kvmlab host down`.",
                ) from None
        else:
            run_dir = Path(tempfile.mkdtemp(dir=runtime, prefix=OWN))
        lock = FileLock.take(run_dir / "lock")
        if lock is None:
            raise EmbeddedError(f"Somebody locked {run_dir}, which was just made.")
    try:
        yield run_dir, lock
    finally:
        lock.close()


def running_hosts() -> tuple[KeptHost, ...]:
    """The hosts that run for this user, the shared one first; leftovers of others are removed."""
    runtime = paths.runtime_dir()
    with held(runtime / "lock", timeout_sec=ANSWER_SEC, what="the directory of running hosts"):
        _sweep(runtime)
        found = [kept for run_dir in _run_dirs(runtime) if (kept := find_kept(run_dir))]
    return tuple(sorted(found, key=lambda kept: (not kept.shared, kept.run_dir.name)))


def find_kept(run_dir: Path) -> KeptHost | None:
    """The host of ``run_dir``; None where there is none that this version understands."""
    try:
        return KeptHost(Spec.read(run_dir))
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _sweep(runtime: Path) -> None:
    """Remove run directories whose keeper is gone; the caller holds the lock of ``runtime``."""
    for run_dir in _run_dirs(runtime):
        lock = FileLock.take(run_dir / "lock")
        if lock is not None:
            shutil.rmtree(run_dir, ignore_errors=True)
            lock.close()


def _run_dirs(runtime: Path) -> list[Path]:
    """Run directories of hosts; the connections to hosts keep theirs in the same place."""
    return [
        entry
        for entry in runtime.iterdir()
        if (entry.name == SHARED or entry.name.startswith(OWN)) and entry.is_dir()
    ]


def command_line() -> str:
    """How this process was started, for messages about who holds a host."""
    raw = Path("/proc/self/cmdline").read_bytes().split(b"\0")
    return json.dumps(" ".join(word.decode(errors="replace") for word in raw if word))[1:-1][:200]
