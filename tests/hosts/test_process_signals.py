"""A signal goes to the process that was meant, never to another one that has its number by now."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvmlab.deadline import until
from kvmlab.hosts import script_text

SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]
PRELUDE = "\n. ./prelude.sh\n"


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that runs until it is ended, the leader of a group."""
    with subprocess.Popen(("sleep", "600"), start_new_session=True) as running:
        yield running
        running.kill()


def start_of(process: subprocess.Popen[bytes]) -> int:
    """Return when a process began, in clock ticks since boot."""
    stat = Path(f"/proc/{process.pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[19])


def run(shell: str, lines: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run lines that use the prelude, in that shell."""
    prelude = script_text("kvmlab.incidents", "serve.sh").split("\nmode=")[0]
    argv = (*((shell, "sh") if shell == "busybox" else (shell,)), "-c", f"{prelude}\n{lines}", "x")
    return subprocess.run((*argv, *words), capture_output=True, text=True, check=False, timeout=60)


def is_alive(process: subprocess.Popen[bytes]) -> bool:
    """Return whether the process goes on, a moment after a signal that was sent to it."""
    try:
        process.wait(0.3)
    except subprocess.TimeoutExpired:
        return True
    return False


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("function", ["signal_process", "signal_group"])
def test_the_process_that_is_meant(
    process: subprocess.Popen[bytes], function: str, shell: str
) -> None:
    done = run(shell, f'{function} TERM "$1" "$2"', str(process.pid), str(start_of(process)))
    assert (done.returncode, done.stderr) == (0, "")
    assert process.wait(10) == -15


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("function", ["signal_process", "signal_group"])
def test_another_process_with_its_number(
    process: subprocess.Popen[bytes], function: str, shell: str
) -> None:
    for start in (str(start_of(process) - 1), "", "0"):
        done = run(shell, f'{function} TERM "$1" "$2"', str(process.pid), start)
        assert (done.returncode, done.stderr) == (1, "")
    done = run(shell, f'{function} TERM "$1" "$2"', "", "")
    assert (done.returncode, done.stderr) == (1, "")
    assert is_alive(process)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_name_with_brackets_does_not_hide_the_start(tmp_path: Path, shell: str) -> None:
    program = tmp_path / "a) S 1 (b"
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen((program, "600")) as odd:
        until(
            lambda: ") S 1 (" in Path(f"/proc/{odd.pid}/stat").read_text(),
            timeout_sec=10,
            what="exec",
        )
        done = run(shell, 'read_start "$1"; echo "$process_start"', str(odd.pid))
        assert int(done.stdout) == start_of(odd)
        odd.kill()


@pytest.mark.parametrize("shell", SHELLS)
def test_a_recorded_process_is_known_later(tmp_path: Path, shell: str) -> None:
    """By another script than the one that started it."""
    record = tmp_path / "record"
    lines = """
    exec_recorded "$1" sh -c 'cat "$1"; exec sleep 600' sh "$1" >"$1.seen" 2>&1 &
    until [ -s "$1.seen" ]; do sleep 0.02; done
    echo $!
    """
    done = run(shell, lines, str(record))
    assert done.stderr == ""
    # The record was there before the program ran.
    assert (tmp_path / "record.seen").read_text() == record.read_text()
    number, start = record.read_text().split()
    assert number == done.stdout.strip()
    assert run(shell, 'is_recorded "$1"', str(record)).returncode == 0
    record.write_text(f"{number} {int(start) - 1}\n")
    assert run(shell, 'signal_recorded TERM "$1"', str(record)).returncode == 1
    assert Path(f"/proc/{number}/stat").exists()
    record.write_text(f"{number} {start}\n")
    assert run(shell, 'signal_recorded TERM "$1"', str(record)).returncode == 0
    until(
        lambda: run(shell, 'is_recorded "$1"', str(record)).returncode != 0,
        timeout_sec=10,
        what="its end",
    )


#: Scripts that end what an earlier run of them started: package, name, words, the record's ending.
ENDINGS = [
    ("kvmlab.changes", "capture.sh", ("stop", "tap0", "0", "{folder}/x"), "x.tap0"),
    ("kvmlab.changes", "second_meters.sh", ("stop", "{folder}/x"), "x"),
    ("kvmlab.incidents", "serve.sh", ("stop", "-", "-", "{folder}/x", "1"), "x.pid"),
    ("kvmlab.incidents", "serve_guest.sh", ("stop", "-", "{folder}/x", "1"), "x.pid"),
    ("kvmlab.migration", "guest_program.sh", ("end", "{folder}/x"), "x"),
]


@pytest.mark.parametrize(("package", "script", "words", "record"), ENDINGS)
def test_a_script_ends_what_it_started_and_nothing_else(
    process: subprocess.Popen[bytes],
    tmp_path: Path,
    package: str,
    script: str,
    words: tuple[str, ...],
    record: str,
) -> None:
    argv = ("sh", "-s", "--", *(word.format(folder=tmp_path) for word in words))
    text = script_text(package, script)
    for start in (start_of(process) - 1, start_of(process)):
        assert is_alive(process)
        (tmp_path / record).write_text(f"{process.pid} {start}\n")
        done = subprocess.run(
            argv, input=text, text=True, capture_output=True, check=True, timeout=60
        )
        assert done.stderr == ""
        assert not (tmp_path / record).exists()
    assert process.wait(10) == -15


def test_a_strangers_capture_of_the_same_device_goes_on(tmp_path: Path) -> None:
    """A program that calls itself as the lab's capture does, by its command line."""
    argv = ("tcpdump", "-i", "tap0", "-n")
    code = "import time; time.sleep(600)"
    with subprocess.Popen(
        (*argv[:1], "-c", code, *argv[1:]), executable=shutil.which("python3")
    ) as other:
        text = script_text("kvmlab.changes", "capture.sh")
        words = ("sh", "-s", "--", "stop", "tap0", "0", str(tmp_path / "x"))
        subprocess.run(words, input=text, text=True, check=True, timeout=60)
        assert is_alive(other)
        other.kill()
