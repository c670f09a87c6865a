"""The lock on the host and the journal there: a real program, talked to through real pipes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvmlab.changes.keeper import Keeper, parse_on_host, read_on_host
from kvmlab.errors import HostBusy, HostError, HostUnreachable, OutputError
from kvmlab.hosts import Host
from kvmlab.waiting import until
from tests.changes.plain_host import PlainRunner, plain_host

BOOT_ID = "/proc/sys/kernel/random/boot_id"
HOLD = """
import sys
from kvmlab.changes.keeper import Keeper
from tests.changes.plain_host import PlainRunner, plain_host
keeper = Keeper.take(plain_host(PlainRunner()), "a long run", folder=sys.argv[1])
keeper.note("a.jsonl", "begun\\n")
print("held", flush=True)
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
    return not read_on_host(host, folder=folder).holder


def test_what_is_noted_is_on_the_host(host: Host, folder: str) -> None:
    assert read_on_host(host, folder=folder).journals == {}
    keeper = Keeper.take(host, "scheme x", folder=folder)
    hard = '{"a": "quotes \' \\" backslash \\\\ dollar $(x) `y` percent %s unicode – 中"}\n'
    keeper.note("1.jsonl", hard)
    keeper.note("1.jsonl", "second\n")
    keeper.note("2.jsonl", "x" * 200_000 + "\n")
    there = read_on_host(host, folder=folder)
    assert there.journals == {"1.jsonl": f"{hard}second\n", "2.jsonl": "x" * 200_000 + "\n"}
    assert f"process {os.getpid()}, since 20" in there.holder
    assert there.holder.endswith(", scheme x")
    keeper.gone("1.jsonl")
    keeper.close()
    keeper.close()
    left = read_on_host(host, folder=folder)
    assert (left.holder, list(left.journals)) == ("", ["2.jsonl"])


def test_a_name_that_leaves_the_folder_is_refused(host: Host, folder: str) -> None:
    keeper = Keeper.take(host, "x", folder=folder)
    with pytest.raises(HostError, match="is no name"):
        keeper.gone("../../lock")
    keeper.close()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_second_is_told_and_a_dead_one_holds_nothing(
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
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(HostBusy) as caught:
            Keeper.take(host, "mine", folder=folder)
        assert f"process {holder.pid}, since 20" in caught.value.message
        assert "a long run; it was last heard" in caught.value.message
        holder.send_signal(how)
    until(lambda: free(host, folder), timeout_sec=10, what="the lock's going")
    assert read_on_host(host, folder=folder).journals == {"a.jsonl": "begun\n"}
    Keeper.take(host, "mine", folder=folder).close()


def test_who_is_not_heard_loses_the_lock(host: Host, folder: str) -> None:
    keeper = Keeper.take(host, "silent", folder=folder, silence_sec=1)
    until(lambda: not keeper.alive, timeout_sec=10, what="the end of a silent lab's lock")
    assert free(host, folder)
    with pytest.raises(HostUnreachable, match="is lost"):
        keeper.note("a.jsonl", "x\n")
    keeper.close()
    Keeper.take(host, "next", folder=folder).close()


def test_who_is_interrupted_says_nothing_more(host: Host, folder: str) -> None:
    """Half a line must not be taken for the begin of the next one."""
    keeper = Keeper.take(host, "interrupted", folder=folder)

    def ctrl_c() -> str:
        signal.raise_signal(signal.SIGINT)
        return ""

    keeper._answer = ctrl_c  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        keeper.note("a.jsonl", "x\n")
    assert not keeper.alive
    keeper.close()
    Keeper.take(host, "next", folder=folder).close()


def test_a_folder_that_cannot_be_made_is_said(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="cannot be written"):
        Keeper.take(host, "x", folder=str(tmp_path / "file" / "below"))


@pytest.mark.parametrize("text", ["", "bash: flock: not found\n", "\n"])
def test_an_answer_of_another_shape_is_said(text: str) -> None:
    with pytest.raises(OutputError):
        parse_on_host(text)


def test_who_was_stopped_too_long_holds_nothing(host: Host, folder: str) -> None:
    """A suspended laptop: its connection lives, and the lock is another lab's by now."""
    keeper = Keeper.take(host, "stopped", folder=folder)
    keeper._heard_at -= 1000
    assert not keeper.alive
    with pytest.raises(HostUnreachable, match="is lost"):
        keeper.note("a.jsonl", "x\n")
    keeper.close()
    assert read_on_host(host, folder=folder).journals == {}


def test_a_beat_is_answered(host: Host, folder: str) -> None:
    keeper = Keeper.take(host, "alive", folder=folder)
    before = keeper._heard_at
    keeper._ask(b"beat\n")
    assert keeper._heard_at > before
    keeper.close()


def test_half_a_sentence_does_not_keep_the_lock(host: Host, folder: str) -> None:
    """The connection freezes in the middle of a note: what waits for the rest holds nothing."""
    keeper = Keeper.take(host, "half", folder=folder, silence_sec=1)
    keeper._say(b'note a.jsonl 100\n{"event": ')
    until(lambda: free(host, folder), timeout_sec=10, what="the lock's going")
    Keeper.take(host, "next", folder=folder).close()
    keeper.close()


def test_what_was_undone_is_known_to_the_other_machine(host: Host, folder: str) -> None:
    keeper = Keeper.take(host, "x", folder=folder)
    keeper.note("1.jsonl", "begun\n")
    keeper.note("2.jsonl", "begun\n")
    keeper.gone("1.jsonl")
    keeper.close()
    there = read_on_host(host, folder=folder)
    assert (sorted(there.undone), list(there.journals)) == (["1.jsonl"], ["2.jsonl"])
    assert there.boot == keeper.boot == Path(BOOT_ID).read_text().strip()
    with (Path(folder) / "undone").open("a") as listed:
        listed.writelines(f"old-{number}.jsonl\n" for number in range(3000))
    Keeper.take(host, "next", folder=folder).close()
    assert len(read_on_host(host, folder=folder).undone) == 1000
