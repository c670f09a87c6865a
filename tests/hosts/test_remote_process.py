"""Long-running processes: real ones here and through a real sshd, and recorded ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kvmlab.deadline import until
from kvmlab.errors import (
    CommandFailed,
    CommandTimeout,
    HostError,
    HostRefused,
    HostUnreachable,
    OutputError,
)
from kvmlab.hosts import LocalRunner, RecordedRunner, Recorder, Runner, SshRunner, Talk
from kvmlab.hosts.remote_process import STDERR_BYTES, RemoteProcess
from kvmlab.process import LineReader
from tests.hosts.conftest import Server

ECHO = 'echo ready; while read -r line; do echo "got $line"; done; echo over'
WAIT_SEC = 20.0


@pytest.fixture(params=["local", "ssh"])
def runner(request: pytest.FixtureRequest, server: Server, runtime: Path) -> Iterator[Runner]:
    opened = LocalRunner() if request.param == "local" else SshRunner(server.target)
    yield opened
    opened.close()


def shell(runner: Runner, script: str) -> RemoteProcess:
    return runner.spawn(("sh", "-c", script))


def test_a_conversation(runner: Runner) -> None:
    with shell(runner, ECHO) as process:
        assert process.next_line(timeout_sec=WAIT_SEC) == "ready"
        assert process.next_line(timeout_sec=0.05) is None
        assert not process.output_ended
        process.send("one\ntwo\n")
        assert process.expect("got t", timeout_sec=WAIT_SEC) == (["got one"], "wo")
        process.send("three\n")
        done = process.finish(timeout_sec=WAIT_SEC)
        assert (done.stdout, done.returncode) == ("got three\nover\n", 0)
        assert not process.is_alive
        assert process.finish(timeout_sec=0) is done
        with pytest.raises(CommandFailed):
            process.send("more\n")


def test_failure_carries_stderr(runner: Runner) -> None:
    process = shell(runner, "echo first; echo bad luck >&2; exit 3")
    with pytest.raises(CommandFailed, match="exit code 3") as caught:
        process.expect("ready", timeout_sec=WAIT_SEC)
    assert caught.value.evidence == "bad luck\n"
    assert caught.value.completed.stdout == "first"
    with pytest.raises(CommandFailed):
        process.finish(timeout_sec=WAIT_SEC)
    assert process.finish(timeout_sec=WAIT_SEC, check=False).returncode == 3


def test_deadlines(runner: Runner) -> None:
    process = shell(runner, "echo begun; echo why >&2; exec sleep 60")
    until(lambda: process.stderr, timeout_sec=WAIT_SEC, what="Standard error")
    with pytest.raises(CommandTimeout, match=r'did not print "ready" within 0\.1 s') as caught:
        process.expect("ready", timeout_sec=0.1)
    assert caught.value.evidence == "begun\nwhy\n"
    with pytest.raises(CommandTimeout, match=r"did not end within 0\.1 s"):
        process.finish(timeout_sec=0.1)
    assert not process.is_alive


def test_a_deadline_holds_while_a_line_does_not_end() -> None:
    with shell(LocalRunner(), "while printf x; do sleep 0.02; done") as process:
        begun = time.monotonic()
        assert process.next_line(timeout_sec=0.3) is None
        assert 0.25 < time.monotonic() - begun < 30
        process.kill()


def test_a_deadline_holds_while_a_program_prints() -> None:
    with shell(LocalRunner(), "exec yes") as process:
        with pytest.raises((CommandTimeout, OutputError)):
            process.expect("no", timeout_sec=0.1)
        with pytest.raises((CommandTimeout, OutputError)):
            process.finish(timeout_sec=0.1)


def test_bytes_without_a_newline_do_not_outlive_the_deadline() -> None:
    reader = LineReader(lambda timeout_sec: b"x", limit_bytes=1 << 30)
    assert reader.next(timeout_sec=0.1) is None


def test_stored_output_has_a_limit() -> None:
    reader = LineReader(lambda timeout_sec: b"x" * 1000, limit_bytes=10_000)
    with pytest.raises(OutputError, match="more than any answer"):
        reader.next(timeout_sec=WAIT_SEC)
    chunks = [b"a\nb", b"b\nc", b""]
    reader = LineReader(lambda timeout_sec: chunks.pop(0), limit_bytes=3)
    assert [reader.next(timeout_sec=1) for _ in range(3)] == ["a", "bb", None]
    assert reader.rest(timeout_sec=1) == b"c"
    with pytest.raises(OutputError):
        LineReader(lambda timeout_sec: b"xx", limit_bytes=3).rest(timeout_sec=WAIT_SEC)


def test_standard_error_never_blocks_and_is_cut() -> None:
    script = "head -c 300000 /dev/zero | tr '\\0' x >&2; echo end >&2; echo done"
    process = shell(LocalRunner(), script)
    assert process.next_line(timeout_sec=WAIT_SEC) == "done"
    done = process.finish(timeout_sec=WAIT_SEC)
    assert len(done.stderr) == STDERR_BYTES
    assert done.stderr.endswith("xend\n")


def test_send_has_a_deadline() -> None:
    with shell(LocalRunner(), "exec sleep 60") as process:
        with pytest.raises(CommandTimeout, match="did not read its input"):
            process.send(b"x" * 1_000_000, timeout_sec=0.2)
        process.kill()


def test_stop_kills_children_too(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    process = shell(LocalRunner(), f"sleep 61 & echo $! >{note}; trap '' TERM; wait")
    until(lambda: note.exists() and note.read_text(), timeout_sec=WAIT_SEC, what="The child")
    assert process.stop(grace_sec=0.1).returncode == -9
    assert process.stop().returncode == -9
    until(lambda: not _runs(int(note.read_text())), timeout_sec=WAIT_SEC, what="The child's end")


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_lost_connection_is_unreachable(server: Server, runtime: Path) -> None:
    runner = SshRunner(server.target)
    process = shell(runner, ECHO)
    assert process.next_line(timeout_sec=WAIT_SEC) == "ready"
    runner.close()
    with pytest.raises(HostUnreachable):
        process.expect("got", timeout_sec=WAIT_SEC)


def test_refusal_of_sudo() -> None:
    talk = Talk(
        ("sudo", "-n", "--", "sh"),
        (("ended", ""),),
        stderr="sudo: a password is required\n",
        returncode=1,
    )
    process = RecordedRunner(talks=[talk]).spawn(talk.argv)
    with pytest.raises(HostRefused, match="needs root"):
        process.send("x\n")


def _converse(process: RemoteProcess) -> tuple[object, ...]:
    first = process.next_line(timeout_sec=WAIT_SEC)
    process.send("one\nand more\n")
    answer = process.expect("got", timeout_sec=WAIT_SEC)
    return first, answer, process.finish(timeout_sec=WAIT_SEC).stdout


def test_record_and_replay_a_conversation(tmp_path: Path) -> None:
    argv = ("sh", "-c", f"# echo\n{ECHO}")
    recorder = Recorder(LocalRunner())
    assert isinstance(recorder, Runner)
    live = _converse(recorder.spawn(argv))
    assert live == ("ready", ([], " one"), "got and more\nover\n")
    failed = recorder.spawn(("sh", "-c", "echo oh; exit 4"))
    with pytest.raises(CommandFailed):
        failed.expect("ready", timeout_sec=WAIT_SEC)
    recorder.save(tmp_path / "host.json")

    replay = RecordedRunner.load(tmp_path / "host.json")
    assert isinstance(replay, Runner)
    process = replay.spawn(("sh", "-c", "# echo\nsomething newer"))
    assert _converse(process) == live
    failed = replay.spawn(("sh", "-c", "echo oh; exit 4"))
    with pytest.raises(CommandFailed, match="exit code 4") as caught:
        failed.expect("ready", timeout_sec=WAIT_SEC)
    assert caught.value.completed.stdout == "oh"
    with pytest.raises(HostError, match="holds no conversation with `sh -c # echo`"):
        replay.spawn(argv)


def test_replay_refuses_other_input() -> None:
    talk = Talk(("sh", "*"), (("line", "ready"), ("sent", "one")))

    def opened() -> RemoteProcess:
        return RecordedRunner(talks=[talk]).spawn(("sh", "whatever"))

    process = opened()
    assert process.next_line(timeout_sec=1) == "ready"
    with pytest.raises(HostError, match='"two" where the recording has sent "one"'):
        process.send("two")
    process = opened()
    assert process.next_line(timeout_sec=1) == "ready"
    assert process.next_line(timeout_sec=1) is None
    assert process.is_alive
    assert process.stop().returncode == 0


def test_many_processes_leave_nothing_open() -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    ends: list[Callable[[RemoteProcess], object]] = [
        lambda process: process.finish(timeout_sec=WAIT_SEC),
        RemoteProcess.stop,
        RemoteProcess.kill,
    ]
    for number in range(12):
        ends[number % 3](shell(LocalRunner(), ECHO))
    until(lambda: descriptors() <= before, timeout_sec=WAIT_SEC, what="The closing of all pipes")
