"""The lock on the host itself, and the copy of the journal there.

A program on the host holds the lock for as long as this process talks to it through the host's
connection. However this process ends, the program hears it and the lock goes. Where the connection
freezes, nothing is heard any more: after `SILENCE_SEC` the program ends by itself. This process
knows that too: it takes the lock for lost when no answer came for as long, and also when it was
itself stopped (a suspended laptop) and the connection seems to live.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from getpass import getuser
from importlib.resources import files
from typing import TYPE_CHECKING, Final, Self

from kvmlab.errors import HostBusy, HostError, HostRefused, HostUnreachable, OutputError
from kvmlab.hosts import run_script
from kvmlab.hosts.runner import root_refused
from kvmlab.process import Lines

if TYPE_CHECKING:
    from kvmlab.hosts import Host

#: Where a host keeps its lock and its journals. Not /run: what `define` made outlives a reboot.
FOLDER: Final = "/var/lib/kvmlab"
#: Seconds without a word after which the host gives its lock to the next lab.
SILENCE_SEC: Final = 120
_BEAT_SEC: Final = 15.0
_ANSWER_SEC: Final = 60.0
_PATIENCE_SEC: Final = 4.0
_AGAIN_SEC: Final = 0.5
_END_SEC: Final = 1.0
_LOOK_SEC: Final = 1.0


def who_am_i(purpose: str) -> str:
    """This process for others, in one line: ``alice@desk, process 12, since …, scheme e1000``."""
    since = datetime.now(UTC).isoformat("T", "seconds")
    return f"{getuser()}@{socket.gethostname()}, process {os.getpid()}, since {since}, {purpose}"


class Keeper:
    """The lock of one host, held there by a program that listens to this process."""

    def __init__(self, process: subprocess.Popen[bytes], label: str) -> None:
        self._process = process
        self._label = label
        self._talking = threading.Lock()
        self._over = threading.Event()
        assert process.stdout is not None
        self._lines = Lines(process.stdout)
        self._silence_sec = float(SILENCE_SEC)
        #: When that was said which the host answered last: until then it has heard us for sure.
        self._heard_at = _now()
        #: The host's boot: what was changed goes with it.
        self.boot = ""

    @classmethod
    def take(
        cls,
        host: Host,
        purpose: str,
        *,
        folder: str = FOLDER,
        silence_sec: int = SILENCE_SEC,
        patience_sec: float = _PATIENCE_SEC,
    ) -> Self:
        """Take the host's lock; one that is busy is asked for again for ``patience_sec``.

        Raises:
            HostBusy: another lab has it; the message says who, since when, and how long ago it was
                last heard.
            HostRefused: the lock cannot be written by this user.
            HostUnreachable: the host does not answer.
        """
        script = files("kvmlab.changes").joinpath("scripts", "keep_lock.sh")
        words = (folder, str(silence_sec), who_am_i(purpose))
        argv = ("sh", "-c", script.read_text(encoding="utf-8"), "kvmlab-lock", *words)
        deadline = time.monotonic() + patience_sec
        while True:
            try:
                keeper = cls._taken(host, argv, silence_sec)
            except HostBusy:
                # A lab that was killed just now is noticed there a moment later.
                if time.monotonic() > deadline:
                    raise
                time.sleep(_AGAIN_SEC)
            else:
                break
        threading.Thread(target=keeper._beat, name="kvmlab-beat", daemon=True).start()
        return keeper

    @classmethod
    def _taken(cls, host: Host, argv: tuple[str, ...], silence_sec: float) -> Self:
        keeper = cls(host.runner.start(argv, root=True), host.label)
        keeper._silence_sec = silence_sec
        try:
            said, _, keeper.boot = keeper._answer().partition(" ")
            if said != "held":
                raise _not_held(f"{said} {keeper.boot}", host.label)
        except BaseException:
            keeper.close()
            raise
        return keeper

    @property
    def alive(self) -> bool:
        """Whether the lock is still held: its program runs, and heard us not too long ago."""
        return self._process.poll() is None and _now() - self._heard_at < self._silence_sec

    def must_be_alive(self) -> None:
        """Stop before something is done on a host that may be another lab's by now.

        Raises:
            HostUnreachable: the lock is lost.
        """
        if not self.alive:
            raise self._lost()

    def note(self, name: str, text: str) -> None:
        """Append to the journal ``name`` on the host; it is on disk there when this returns.

        Raises:
            HostUnreachable: the connection or the lock is gone.
            HostError: the host's disk does not take it.
        """
        raw = text.encode()
        self._ask(f"note {name} {len(raw)}\n".encode() + raw)

    def gone(self, name: str) -> None:
        """Remove the journal ``name`` on the host. Raises as `note` does."""
        self._ask(f"gone {name}\n".encode())

    def close(self) -> None:
        """Give the lock back. Twice is no error."""
        self._over.set()
        with self._talking:
            if self._process.stdin is not None and not self._process.stdin.closed:
                # What could not be said any more is not needed any more.
                with suppress(OSError):
                    self._process.stdin.close()
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            for stream in (self._process.stdout, self._process.stderr):
                if stream is not None:
                    stream.close()

    def _ask(self, said: bytes) -> None:
        with self._talking:
            began = _now()
            try:
                self.must_be_alive()
                self._say(said)
                answer = self._answer()
            except BaseException:
                # Half a sentence (Ctrl-C, a lost connection): nothing more can be said to it.
                self._process.kill()
                self._process.wait()
                raise
            self._heard_at = began
        if answer != "ok":
            raise HostError(
                f"The journal on {self._label} could not be written: "
                f"{answer.removeprefix('failed ')}.",
                todo="See that its disk is not full and can be written, then try again.",
            )

    def _say(self, said: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(said)
            self._process.stdin.flush()
        except (OSError, ValueError) as error:
            raise self._lost() from error

    def _beat(self) -> None:
        while not self._over.wait(_BEAT_SEC):
            try:
                self._ask(b"beat\n")
            except HostError:
                return  # whoever asks next is told

    def _answer(self) -> str:
        deadline = time.monotonic() + _ANSWER_SEC
        while time.monotonic() < deadline:
            line = self._lines.next(timeout_sec=_LOOK_SEC)
            if line is not None:
                return line
            # Who closes the lock need not wait for the answer to a beat.
            if self._over.is_set() or self._lines.ended:
                break
        raise self._lost()

    def _lost(self) -> HostError:
        said = ""
        # What closed its output may need a moment to end.
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=_END_SEC)
            if self._process.stderr is not None:
                said = self._process.stderr.read().decode(errors="replace")
        if "sudo:" in said:
            return root_refused("kvmlab-lock", "sh", host=self._label, said=said)
        return HostUnreachable(
            f"The lock on {self._label} is lost: the connection was cut, or nothing was heard "
            f"from here for {SILENCE_SEC} s.",
            todo=f"Look at the host, then put back what is left: `kvmlab restore`, or "
            f"kvmlab.restore(host). Its journal is in {FOLDER}/journal there.",
            evidence=said,
        )


def _now() -> float:
    """Seconds on a clock that nobody sets, and that goes on while this machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _not_held(said: str, label: str) -> HostError:
    word, _, rest = said.partition(" ")
    if word != "busy":
        return HostRefused(
            f"The lock of {label} cannot be taken: {rest or said}.",
            todo=f"kvmlab keeps it in {FOLDER} there, as root.",
        )
    age, _, holder = rest.partition(" ")
    return HostBusy(
        f"Another lab works on {label}: {holder or 'one that left no note'}; it was last heard "
        f"{age} s ago.",
        todo="Wait until it has ended, or end it; the lock goes with its process, and after "
        f"{SILENCE_SEC} s without a word from it.",
    )


@dataclass(frozen=True)
class OnHost:
    """What a host keeps of labs.

    ``holder`` is its holder's note, "" where nobody holds it; ``boot`` is the id of its boot, ""
    where that does not matter; ``undone`` names journals that were put back.
    """

    holder: str
    journals: dict[str, str]
    boot: str = ""
    undone: frozenset[str] = frozenset()


def read_on_host(host: Host, *, folder: str = FOLDER) -> OnHost:
    """What is in the host's folder. Reads only, and needs no root.

    Raises:
        HostError: the host cannot be read.
        OutputError: it answered something else.
    """
    done = run_script(host.runner, "kvmlab.changes", "read_journals.sh", folder, timeout_sec=60)
    return parse_on_host(done.stdout)


def parse_on_host(text: str) -> OnHost:
    """Read what ``read_journals.sh`` prints.

    Its output::

        held 4c8f9f4e-… 3 root@desk, process 12, since 2026-11-22T15:00:00+00:00, scheme e1000
        undone 20261121T150000.000000-12-e1000.jsonl
        @ 20261122T150000.000000-12-e1000.jsonl
        {"event": "open", "format": 1, …}

    Raises:
        OutputError: it is not that.
    """
    head, _, rest = text.partition("\n")
    word, _, told = head.partition(" ")
    if word not in ("free", "held"):
        raise OutputError("What the host keeps of labs could not be understood.", evidence=text)
    boot, _, holder = told.partition(" ")
    journals: dict[str, str] = {}
    undone: set[str] = set()
    name = ""
    for line in rest.split("\n"):
        if line.startswith("@ "):
            name = line[2:]
            journals[name] = ""
        elif name and line:
            journals[name] += line + "\n"
        elif line.startswith("undone "):
            undone.add(line.partition(" ")[2])
    return OnHost(holder.partition(" ")[2], journals, boot, frozenset(undone))
