"""The lock on the host itself, and the host's copy of the journal.

A program on the host (``keep_lock.sh``) has the lock as long as this process talks to it through
the host's connection. However this process ends, the program reads the end of its input and
releases the lock. When the connection freezes, the program ends by itself after `SILENCE_SEC`
without a message. This process applies the same limit: it regards the lock as lost when no answer
came for as long, and also when it was itself stopped (a suspended laptop) although the connection
seems to live.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from getpass import getuser
from typing import TYPE_CHECKING, Final, Self

from kvmlab.errors import HostBusy, HostError, HostRefused, HostUnreachable
from kvmlab.hosts import (
    RemoteProcess,
    SshRunner,
    parse_output,
    run_script,
    script_text,
    spawn_script,
)

if TYPE_CHECKING:
    from kvmlab.hosts import Host

#: The host's lock and journals. Not /run: what `define` writes outlives a reboot.
FOLDER: Final = "/var/lib/kvmlab"
#: Seconds without a message after which the host releases its lock.
SILENCE_SEC: Final = 120
_BEAT_SEC: Final = 15.0
_ANSWER_SEC: Final = 60.0
_BUSY_TIMEOUT_SEC: Final = 4.0
_RETRY_SEC: Final = 0.5
_POLL_SEC: Final = 1.0
_JOURNAL_NAME: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.+-]{0,200}\.jsonl")


def holder_note(purpose: str) -> str:
    """Return the note for others: ``alice@desk, process 12, since …, scheme e1000``."""
    since = datetime.now(UTC).isoformat("T", "seconds")
    return f"{getuser()}@{socket.gethostname()}, process {os.getpid()}, since {since}, {purpose}"


@dataclass(frozen=True)
class HostIdentity:
    """The host's installation and its boot; "" where nobody else uses the host.

    ``machine`` is derived from /etc/machine-id, which is not to be given away itself. Changes of
    the host end with its boot.
    """

    machine: str = ""
    boot: str = ""

    @classmethod
    def of(cls, boot: str, machine_id: str) -> Self:
        """Derive the identity from the host's two ids; a host may have no machine id."""
        digest = hashlib.sha256(f"kvmlab {machine_id}".encode()).hexdigest()
        return cls(digest[:32] if machine_id.strip("-") else "none", boot)


class HostLock:
    """The lock of one host, in the hands of a program there that listens to this process."""

    def __init__(self, process: RemoteProcess, label: str) -> None:
        self._process = process
        self._label = label
        self._conversation = threading.Lock()
        self._closed = threading.Event()
        self._silence_sec = float(SILENCE_SEC)
        #: The time of the last message that the host has answered.
        self._acknowledged_at = _now()
        self.identity = HostIdentity()
        #: The host undoes by itself what nobody confirms.
        self.confirms = False

    @classmethod
    def take(
        cls,
        host: Host,
        purpose: str,
        *,
        folder: str = FOLDER,
        silence_sec: int = SILENCE_SEC,
        confirm_sec: int = 0,
        wall_timeout_sec: float = _BUSY_TIMEOUT_SEC,
    ) -> Self:
        """Take the host's lock; retry a busy one for ``wall_timeout_sec``.

        ``silence_sec`` after the last message the lock is released; ``confirm_sec`` after it the
        host undoes by itself what is left of this lab's changes, 0 for never.

        Raises:
            HostBusy: another lab has it; the message says who, since when, and when it was last
                heard.
            HostRefused: this user cannot write the lock.
            HostUnreachable: the host does not answer.
        """
        deadline = time.monotonic() + wall_timeout_sec
        while True:
            try:
                host_lock = cls._taken(host, purpose, folder, silence_sec, confirm_sec)
            except HostBusy:
                # The host notices the death of a lab a moment later.
                if time.monotonic() > deadline:
                    raise
                time.sleep(_RETRY_SEC)
            else:
                break
        threading.Thread(target=host_lock._beat, name="kvmlab-beat", daemon=True).start()
        return host_lock

    @classmethod
    def _taken(
        cls, host: Host, purpose: str, folder: str, silence_sec: int, confirm_sec: int
    ) -> Self:
        process = spawn_script(
            host.runner,
            "kvmlab.changes",
            "keep_lock.sh",
            *(folder, str(silence_sec), str(confirm_sec)),
            "ssh" if isinstance(host.runner, SshRunner) else "-",
            script_text("kvmlab.changes", "guard_change.sh"),
            holder_note(purpose),
            root=True,
        )
        host_lock = cls(process, host.label)
        host_lock._silence_sec = silence_sec
        host_lock.confirms = confirm_sec > 0
        try:
            answer = host_lock._answer()
            status, *words = answer.split()
            if status != "locked" or len(words) != 2:
                raise _not_locked(answer, host.label)
            host_lock.identity = HostIdentity.of(*words)
        except BaseException:
            host_lock.close()
            raise
        return host_lock

    @property
    def alive(self) -> bool:
        """True while we have the lock: its program runs, and answered recently."""
        return self._process.is_alive and _now() - self._acknowledged_at < self._silence_sec

    def must_be_alive(self) -> None:
        """Refuse to go on where another lab may have the host by now.

        Raises:
            HostUnreachable: the lock is lost.
        """
        if not self.alive:
            raise self._lost()

    def note(self, name: str, text: str, *, undo: str = "") -> None:
        """Append to the journal ``name`` on the host; it is on disk there on return.

        ``undo`` is the script that undoes all of it, for a host that has to do so by itself.

        Raises:
            HostUnreachable: the connection or the lock is gone.
            HostError: the host cannot write it.
        """
        data, script = text.encode(), undo.encode()
        self._ask(f"note {name} {len(data)} {len(script)}\n".encode() + data + script)

    def remove(self, name: str) -> None:
        """Remove the journal ``name`` on the host, and list it as undone. Raises as `note` does."""
        self._ask(f"remove {name}\n".encode())

    def close(self) -> None:
        """Release the lock. A second call does nothing."""
        self._closed.set()
        with self._conversation:
            self._process.stop()

    def _ask(self, data: bytes) -> None:
        with self._conversation:
            sent_at = _now()
            try:
                self.must_be_alive()
                self._send(data)
                answer = self._answer()
            except BaseException:
                # Half a message (Ctrl-C, a lost connection): nothing more can be sent.
                self._process.kill()
                raise
            self._acknowledged_at = sent_at
        if answer != "ok":
            raise HostError(
                f"The journal on {self._label} could not be written: "
                f"{answer.removeprefix('failed ')}.",
                todo="See that its disk is not full and can be written, then try again.",
            )

    def _send(self, data: bytes) -> None:
        try:
            self._process.send(data)
        except HostError as error:
            raise self._lost() from error

    def _beat(self) -> None:
        while not self._closed.wait(min(_BEAT_SEC, self._silence_sec / 4)):
            try:
                self._ask(b"beat\n")
            except HostError:
                return  # the next message raises it

    def _answer(self) -> str:
        deadline = time.monotonic() + _ANSWER_SEC
        while time.monotonic() < deadline:
            line = self._process.next_line(timeout_sec=_POLL_SEC)
            if line is not None:
                return line
            # close() need not wait for the answer to a beat.
            if self._closed.is_set() or self._process.output_ended:
                break
        raise self._lost()

    def _lost(self) -> HostError:
        if self._process.output_ended or not self._process.is_alive:
            error = self._process.failure()
            if isinstance(error, HostRefused):
                return error
        return HostUnreachable(
            f"The lock on {self._label} is lost: the connection was cut, or this process was "
            f"silent for {SILENCE_SEC} s.",
            todo=f"Look at the host, then put back what is left: `kvmlab restore`, or "
            f"kvmlab.restore(host). Its journal is in {FOLDER}/journal there.",
            evidence=self._process.stderr,
        )


def _now() -> float:
    """Return seconds on a clock that cannot be set and runs while this machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _not_locked(answer: str, label: str) -> HostError:
    status, _, rest = answer.partition(" ")
    if status != "busy":
        return HostRefused(
            f"The lock of {label} cannot be taken: {rest or answer}.",
            todo=f"kvmlab keeps it in {FOLDER} there, as root.",
        )
    age, _, holder = rest.partition(" ")
    return HostBusy(
        f"Another lab works on {label}: {holder or 'one that left no note'}; it was last heard "
        f"{age} s ago.",
        todo="Wait until it has ended, or end it; the lock goes with its process, and after "
        f"{SILENCE_SEC} s of silence.",
    )


@dataclass(frozen=True)
class LabState:
    """The state of labs on a host: its lock's holder, its journals.

    ``holder`` is the note of the lab that has the lock, "" where it is free; ``undone`` are the
    journals that were undone, each with a note; ``unreadable`` those that only root may read.
    """

    holder: str = ""
    #: Seconds since the holder's last message.
    age_sec: int = 0
    journals: Mapping[str, str] = field(default_factory=dict)
    identity: HostIdentity = HostIdentity()
    undone: Mapping[str, str] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()


def read_lab_state(host: Host, *, folder: str = FOLDER) -> LabState:
    """Read the host's folder. Changes nothing; only root can read the journals themselves.

    Raises:
        HostError: the host cannot be read.
        OutputError: the answer cannot be parsed.
    """
    with suppress(HostRefused):
        return parse_lab_state(_read(host, folder, root=True))
    return parse_lab_state(_read(host, folder, root=False))


def _read(host: Host, folder: str, *, root: bool) -> str:
    done = run_script(
        host.runner, "kvmlab.changes", "read_journals.sh", folder, timeout_sec=60, root=root
    )
    return done.stdout


def parse_lab_state(text: str) -> LabState:
    """Parse the output of ``read_journals.sh``.

    Its output::

        === boot
        4c8f9f4e-…
        === machine
        0b1e…
        === holder
        3 root@desk, process 12, since 2026-11-22T15:00:00+00:00, scheme e1000
        === undone
        20261121T150000.000000-12-e1000.jsonl
        === journal 20261122T150000.000000-12-e1000.jsonl
        5b1f6d0c2f1e8a77 {"event": "open", "format": 2, …}

        === unreadable

        === end

    Raises:
        OutputError: the text has another shape.
    """
    output = parse_output(text)
    age, _, note = output.text("holder").strip().partition(" ")
    undone = (line.partition(" ") for line in output.text("undone").splitlines())
    return LabState(
        holder=note or ("a lab that left no note" if age else ""),
        age_sec=int(age) if age.isascii() and age.isdecimal() else 0,
        journals={
            name: "".join(f"{line}\n" for line in journal.split("\n") if line)
            for name, journal in output.named("journal").items()
            if is_journal_name(name)
        },
        identity=HostIdentity.of(output.text("boot").strip(), output.text("machine").strip()),
        undone={name: note for name, _, note in undone if name},
        unreadable=tuple(filter(is_journal_name, output.text("unreadable").split())),
    )


def break_lock(host: Host, *, folder: str = FOLDER) -> str:
    """End the program that has the host's lock; return a sentence on what became of it.

    The lab that had it notices, and changes nothing more. Its journal stays: what it has changed is
    undone by `restore`, or by the host itself. The host logs who has broken the lock.

    Raises:
        HostBusy: the lock is still taken, by something that is no lab.
        HostError: the host cannot be reached, or does not let this user.
    """
    holder = read_lab_state(host, folder=folder).holder
    done = run_script(
        host.runner,
        "kvmlab.changes",
        "break_lock.sh",
        *(folder, holder_note("unlock")),
        timeout_sec=60,
        root=True,
    )
    outcome = parse_output(done.stdout).text("outcome").strip()
    if outcome == "stuck":
        raise HostBusy(
            f"The lock of {host.label} is still taken: {holder}.",
            todo=f"Find out which process has it: `fuser -v {folder}/lock`, as root, there.",
        )
    if outcome == "free":
        return f"Nobody had the lock of {host.label}."
    return f"The lock of {host.label} is broken; it was that of {holder}."


def is_journal_name(text: str) -> bool:
    """Return whether ``text`` is the file name of a journal, and of nothing outside its folder."""
    return _JOURNAL_NAME.fullmatch(text) is not None
