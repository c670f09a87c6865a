"""The host undoes by itself what its lab has changed and nobody confirms: a real lock program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from kvmlab.changes.change import AppliedSteps
from kvmlab.changes.host_lock import HostLock, read_lab_state
from kvmlab.changes.journal import ChangeJournal
from kvmlab.changes.journal_format import parse_journal
from kvmlab.changes.rollback import undo_script
from kvmlab.deadline import until
from kvmlab.domain import TestVM
from kvmlab.errors import UsageError
from kvmlab.hosts import Host, HostKind
from tests.changes.killed_lab import the_steps
from tests.changes.plain_host import PlainRunner, plain_host
from tests.changes.test_killed import tree

NAME = "20261128T190000.000000-12-x.jsonl"
#: Applies on a host of this machine, whose lock program confirms within CONFIRM_SEC, and waits.
LAB = """
import sys
from pathlib import Path
from kvmlab.changes.journal import ChangeJournal
from kvmlab.changes.host_lock import HostLock
from kvmlab.changes.lab_lock import LockedRunner, _Entry, _entries, _path
from kvmlab.changes import host_steps
from kvmlab.file_locks import FileLock
from tests.changes.killed_lab import the_steps
from tests.changes.plain_host import PlainRunner, plain_host
host = plain_host(PlainRunner())
lock = HostLock.take(host, "x", folder=sys.argv[1], silence_sec=3, confirm_sec=int(sys.argv[3]))
_entries[_path(host)] = _Entry(FileLock(-1), 1, "x", lock)
steps = the_steps(Path(sys.argv[2]))
journal = ChangeJournal.begin(host, scheme="x", domain="test")
journal.begin_steps(steps, range(len(steps)))
runner = LockedRunner(host)
host_steps.apply(steps, runner, host_steps.settings_of(steps, runner))
print(journal.name, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def host() -> Iterator[Host]:
    with plain_host(PlainRunner()) as opened:
        yield opened


@pytest.fixture
def on_host(tmp_path: Path) -> str:
    return str(tmp_path / "on the host")


class RollbackLab:
    """Another process that has applied the steps."""

    def __init__(self, folder: Path, on_host: str, repository: Path, confirm_sec: int) -> None:
        self.process = subprocess.Popen(
            (sys.executable, "-c", LAB, on_host, str(folder), str(confirm_sec)),
            cwd=repository,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(repository)},
        )
        assert self.process.stdout is not None
        self.journal = self.process.stdout.readline().strip()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


class Start(Protocol):
    """Start a lab whose host confirms within ``confirm_sec``."""

    def __call__(self, confirm_sec: int = 3) -> RollbackLab: ...


@pytest.fixture
def start(folder: Path, on_host: str, repository: Path) -> Iterator[Start]:
    labs: list[RollbackLab] = []

    def started(confirm_sec: int = 3) -> RollbackLab:
        labs.append(RollbackLab(folder, on_host, repository, confirm_sec))
        return labs[-1]

    yield started
    for lab in labs:
        with lab.process:
            lab.process.kill()


AT_REST = {"one": "0\n", "three": "0\n", "two": "0\n"}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lab_that_is_not_heard_is_undone(
    start: Start, how: signal.Signals, folder: Path, host: Host, on_host: str
) -> None:
    """Killed, or stopped with its connection alive: both are silence."""
    lab = start()
    assert tree(folder) != AT_REST
    lab.send(how)
    until(lambda: tree(folder) == AT_REST, timeout_sec=20, what="the undo by the host")

    def finished() -> bool:
        state = read_lab_state(host, folder=on_host)
        return not state.holder and lab.journal in state.undone

    until(finished, timeout_sec=10, what="the end of the undo by the host")
    state = read_lab_state(host, folder=on_host)
    assert "by the host itself at 20" in state.undone[lab.journal]
    assert state.journals == {}
    assert f"undoing {lab.journal}" in Path(on_host, "log").read_text()
    assert not list(Path(on_host).glob("session.*"))


def test_a_lab_that_is_heard_is_left_alone(start: Start, folder: Path) -> None:
    lab = start()
    until(
        lambda: tree(folder) == AT_REST or lab.process.poll() is not None or _age(lab) > 8,
        timeout_sec=20,
        what="the time in which nothing is to happen",
    )
    assert tree(folder) != AT_REST


def _age(lab: RollbackLab) -> float:
    started = int(Path(f"/proc/{lab.process.pid}/stat").read_text().rpartition(") ")[2].split()[19])
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return uptime - started / os.sysconf("SC_CLK_TCK")


def test_without_a_timer_nothing_is_undone(
    start: Start, folder: Path, host: Host, on_host: str
) -> None:
    lab = start(0)
    lab.send(signal.SIGKILL)
    until(
        lambda: not list(Path(on_host).glob("session.*")),
        timeout_sec=20,
        what="the end of the watching program",
    )
    assert tree(folder) != AT_REST
    assert list(read_lab_state(host, folder=on_host).journals) == [lab.journal]


def test_a_restore_goes_first(start: Start, folder: Path, host: Host, on_host: str) -> None:
    """While somebody else has the lock, the host waits; what is undone by then is left alone."""
    confirm_sec = 10  # a busy machine takes some seconds to start what takes the lock
    lab = start(confirm_sec)
    lab.send(signal.SIGKILL)
    lock = HostLock.take(host, "restore", folder=on_host, wall_timeout_sec=10)
    (folder / "one").write_text("somebody else's\n")
    until(
        lambda: (
            len(list(Path(on_host).glob("session.*"))) == 2 and _silent(on_host) > confirm_sec + 2
        ),
        timeout_sec=40,
        what="the time at which the host would have undone it",
    )
    assert tree(folder)["two"] == "2\n"
    lock.remove(lab.journal)
    lock.close()
    until(
        lambda: not list(Path(on_host).glob("session.*")),
        timeout_sec=20,
        what="the end of the watching programs",
    )
    assert tree(folder)["one"] == "somebody else's\n"
    assert tree(folder)["two"] == "2\n", "restore has said that all of it is undone"


def _silent(on_host: str) -> float:
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return uptime - float(Path(on_host, "beat").read_text().split()[1])


def test_what_others_changed_is_left_for_restore(
    start: Start, folder: Path, host: Host, on_host: str
) -> None:
    lab = start()
    (folder / "two").write_text("9\n")
    lab.send(signal.SIGKILL)
    until(lambda: not list(Path(on_host).glob("session.*")), timeout_sec=20, what="the undo")
    assert tree(folder) == {**AT_REST, "two": "9\n"}
    state = read_lab_state(host, folder=on_host)
    content = parse_journal(lab.journal, state.journals[lab.journal])
    assert [step.what for _, step in content.open_steps] == ["Write 2 into two."]
    assert "reads = 9: neither its value before" in Path(on_host, "log").read_text()


def test_the_script_does_what_revert_does(folder: Path, tmp_path: Path, plain_vm: TestVM) -> None:
    steps = the_steps(folder)
    change = AppliedSteps(plain_vm, steps, scheme="x")
    change.apply()
    script = tmp_path / "undo.sh"
    script.write_text(undo_script(NAME, list(enumerate(steps)), libvirt_uri="test:///default"))
    journal = tmp_path / NAME
    for _ in range(2):
        journal.write_text("")
        done = subprocess.run(("sh", str(script), str(journal)), check=False, capture_output=True)
        assert done.returncode == 0, done.stderr
        assert tree(folder) == AT_REST
    opening = ChangeJournal.begin(plain_vm.host, scheme="x", domain="test")
    opening.abandon()
    assert [line.split('"number":')[1][0] for line in journal.read_text().splitlines()] == list(
        "3210"
    )
    change.revert()


@pytest.mark.parametrize("seconds", [-1, 1, 9])
def test_a_time_that_is_too_short_is_refused(seconds: int) -> None:
    with pytest.raises(UsageError, match="Use 10 or more, or 0"):
        Host(
            spec="x",
            kind=HostKind.RECORDED,
            label="x",
            runner=PlainRunner(),
            libvirt_uri="test:///default",
            confirm_within_sec=seconds,
        )
