"""The lock on the host and the journal there: a real program, real pipes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvmlab.changes.host_lock import (
    FOLDER,
    SILENCE_SEC,
    HostLock,
    break_lock,
    parse_lab_state,
    read_lab_state,
)
from kvmlab.deadline import until
from kvmlab.errors import HostBusy, HostError, HostUnreachable, OutputError
from kvmlab.hosts import Host, RecordedRunner, Talk
from tests.changes.plain_host import PlainRunner, plain_host

BOOT_ID = "/proc/sys/kernel/random/boot_id"
HOLD = """
import sys
from kvmlab.changes.host_lock import HostLock
from tests.changes.plain_host import PlainRunner, plain_host
host_lock = HostLock.take(plain_host(PlainRunner()), "a long run", folder=sys.argv[1])
host_lock.note("a.jsonl", "begun\\n")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def host() -> Iterator[Host]:
    with plain_host(PlainRunner()) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "kept there")


def free(host: Host, folder: str) -> bool:
    return not read_lab_state(host, folder=folder).holder


def test_notes_are_on_the_host(host: Host, folder: str) -> None:
    assert read_lab_state(host, folder=folder).journals == {}
    host_lock = HostLock.take(host, "scheme x", folder=folder)
    hard = '{"a": "quotes \' \\" backslash \\\\ dollar $(x) `y` percent %s unicode – 中"}\n'
    host_lock.note("1.jsonl", hard)
    host_lock.note("1.jsonl", "second\n")
    host_lock.note("2.jsonl", "x" * 200_000 + "\n")
    state = read_lab_state(host, folder=folder)
    assert state.journals == {"1.jsonl": f"{hard}second\n", "2.jsonl": "x" * 200_000 + "\n"}
    assert f"process {os.getpid()}, since 20" in state.holder
    assert state.holder.endswith(", scheme x")
    host_lock.remove("1.jsonl")
    host_lock.close()
    host_lock.close()
    left = read_lab_state(host, folder=folder)
    assert (left.holder, list(left.journals)) == ("", ["2.jsonl"])


def test_a_name_that_leaves_the_folder_is_refused(host: Host, folder: str) -> None:
    host_lock = HostLock.take(host, "x", folder=folder)
    with pytest.raises(HostError, match="is no name"):
        host_lock.remove("../../lock")
    host_lock.close()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_second_learns_of_the_holder_and_a_dead_one_has_no_lock(
    host: Host, folder: str, repository: Path, how: signal.Signals
) -> None:
    holder = subprocess.Popen(
        (sys.executable, "-c", HOLD, folder),
        cwd=repository,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(HostBusy) as caught:
            HostLock.take(host, "mine", folder=folder)
        assert f"process {holder.pid}, since 20" in caught.value.message
        assert "a long run; it was last heard" in caught.value.message
        holder.send_signal(how)
    until(lambda: free(host, folder), timeout_sec=10, what="the release of the lock")
    assert read_lab_state(host, folder=folder).journals == {"a.jsonl": "begun\n"}
    HostLock.take(host, "mine", folder=folder).close()


def test_a_silent_lab_loses_the_lock(host: Host, folder: str) -> None:
    host_lock = HostLock.take(host, "silent", folder=folder, silence_sec=1)
    host_lock._closed.set()  # no more beats
    until(lambda: not host_lock.alive, timeout_sec=10, what="the end of a silent lab's lock")
    until(lambda: free(host, folder), timeout_sec=10, what="the release of the lock")
    with pytest.raises(HostUnreachable, match="is lost"):
        host_lock.note("a.jsonl", "x\n")
    host_lock.close()
    HostLock.take(host, "next", folder=folder).close()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt, also where the parent of the tests ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_message_ends_the_conversation(host: Host, folder: str) -> None:
    """Half a message must not run into the next one."""
    host_lock = HostLock.take(host, "interrupted", folder=folder)

    def ctrl_c() -> str:
        signal.raise_signal(signal.SIGINT)
        return ""

    host_lock._answer = ctrl_c  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        host_lock.note("a.jsonl", "x\n")
    assert not host_lock.alive
    host_lock.close()
    HostLock.take(host, "next", folder=folder).close()


def test_a_folder_that_cannot_be_made_is_reported(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="cannot be written"):
        HostLock.take(host, "x", folder=str(tmp_path / "file" / "below"))


@pytest.mark.parametrize("text", ["", "bash: flock: not found\n", "\n"])
def test_a_malformed_answer_is_reported(text: str) -> None:
    with pytest.raises(OutputError):
        parse_lab_state(text)


def test_a_lab_that_was_stopped_too_long_has_no_lock(host: Host, folder: str) -> None:
    """A suspended laptop: its connection lives, and the lock is another lab's by now."""
    host_lock = HostLock.take(host, "stopped", folder=folder)
    host_lock._acknowledged_at -= 1000
    assert not host_lock.alive
    with pytest.raises(HostUnreachable, match="is lost"):
        host_lock.note("a.jsonl", "x\n")
    host_lock.close()
    assert read_lab_state(host, folder=folder).journals == {}


def test_a_beat_is_answered(host: Host, folder: str) -> None:
    host_lock = HostLock.take(host, "alive", folder=folder)
    before = host_lock._acknowledged_at
    host_lock._ask(b"beat\n")
    assert host_lock._acknowledged_at > before
    host_lock.close()


def test_half_a_message_does_not_keep_the_lock(host: Host, folder: str) -> None:
    """The connection freezes in the middle of a note: the program that waits has no lock."""
    host_lock = HostLock.take(host, "half", folder=folder, silence_sec=1)
    host_lock._closed.set()  # no more beats
    host_lock._send(b'note a.jsonl 100 0\n{"event": ')
    until(lambda: free(host, folder), timeout_sec=10, what="the release of the lock")
    HostLock.take(host, "next", folder=folder).close()
    host_lock.close()


def test_undone_journals_are_listed_for_other_machines(host: Host, folder: str) -> None:
    host_lock = HostLock.take(host, "x", folder=folder)
    host_lock.note("1.jsonl", "begun\n")
    host_lock.note("2.jsonl", "begun\n")
    host_lock.remove("1.jsonl")
    host_lock.close()
    state = read_lab_state(host, folder=folder)
    assert (sorted(state.undone), list(state.journals)) == (["1.jsonl"], ["2.jsonl"])
    assert state.identity == host_lock.identity
    assert state.identity.boot == Path(BOOT_ID).read_text().strip()
    with (Path(folder) / "undone").open("a") as listed:
        listed.writelines(f"old-{number}.jsonl\n" for number in range(3000))
    HostLock.take(host, "next", folder=folder).close()
    assert len(read_lab_state(host, folder=folder).undone) == 1000


def test_the_lock_of_a_recorded_host() -> None:
    """Answers of a host that no test can bring about: a full disk, an end in mid-sentence."""

    def taken(*events: tuple[str, str]) -> HostLock:
        talk = Talk(
            ("sh", "-c", "*", "keep_lock.sh", FOLDER, str(SILENCE_SEC), "0", "-", "*", "*"),
            events,
            root=True,
        )
        host = plain_host(PlainRunner())
        host.runner = RecordedRunner(talks=[talk])
        return HostLock.take(host, "x", wall_timeout_sec=0)

    host_lock = taken(
        ("line", "locked 4c8f9f4e 0b1e"), ("sent", "note a.jsonl 2 0"), ("line", "failed disk full")
    )
    assert (host_lock.identity.boot, host_lock.alive) == ("4c8f9f4e", True)
    with pytest.raises(HostError, match="could not be written: disk full"):
        host_lock.note("a.jsonl", "x\n")
    host_lock.close()
    host_lock = taken(("line", "locked b -"), ("sent", "remove a.jsonl"), ("ended", ""))
    with pytest.raises(HostUnreachable, match="is lost"):
        host_lock.remove("a.jsonl")
    assert not host_lock.alive
    host_lock.close()
    with pytest.raises(HostBusy, match=r"alice@desk; it was last heard 3 s ago"):
        taken(("line", "busy 3 alice@desk"), ("ended", ""))


def test_a_lock_is_broken_with_the_holders_name(host: Host, folder: str) -> None:
    host_lock = HostLock.take(host, "scheme x", folder=folder)
    host_lock.note("a.jsonl", "begun\n")
    state = read_lab_state(host, folder=folder)
    assert 0 <= state.age_sec < 30
    sentence = break_lock(host, folder=folder)
    assert sentence.startswith("The lock of a plain host is broken; it was that of ")
    assert sentence.endswith(", scheme x.")
    with pytest.raises(HostUnreachable, match="is lost"):
        host_lock.note("a.jsonl", "x\n")
    host_lock.close()
    state = read_lab_state(host, folder=folder)
    assert (state.holder, state.journals) == ("", {"a.jsonl": "begun\n"}), "its journal stays"
    log = (Path(folder) / "log").read_text()
    assert f"process {os.getpid()}" in log
    assert log.count(', scheme x" broken by "') == 1
    assert break_lock(host, folder=folder) == "Nobody had the lock of a plain host."


def test_what_is_no_lab_is_not_killed(host: Host, folder: str) -> None:
    """The number in the note is another process's by now: its begin is another one."""
    HostLock.take(host, "gone", folder=folder).close()
    other = subprocess.Popen(("flock", f"{folder}/lock", "sleep", "60"))
    try:
        until(lambda: not free(host, folder), timeout_sec=10, what="the lock of something else")
        (Path(folder) / "beat").write_text(f"1 1 {os.getpid()} 1\n")
        with pytest.raises(HostBusy, match="is still taken"):
            break_lock(host, folder=folder)
    finally:
        subprocess.run(("pkill", "-P", str(other.pid)), check=True)
        other.wait()
