"""Recording a real machine and replaying it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvmlab.errors import CommandFailed, HostError, UsageError
from kvmlab.hosts import LocalRunner, RecordedRunner, Recorder, Runner


def test_record_and_replay(tmp_path: Path) -> None:
    counter = tmp_path / "n"
    count = ("sh", "-c", f"echo x >> {counter}; wc -l < {counter}")
    recorder = Recorder(LocalRunner())
    assert isinstance(recorder, Runner)
    real = [recorder.run(count, timeout_sec=5).stdout for _ in range(2)]
    recorder.run(("false",), timeout_sec=5, check=False)
    recorder.run(("sh", "-s"), timeout_sec=5, input_text="# one\necho 1")
    recorder.run(("sh", "-s"), timeout_sec=5, input_text="# two\necho 2")
    recorder.save(tmp_path / "host.json")

    replay = RecordedRunner.load(tmp_path / "host.json")
    assert replay.name == "this machine"
    # In order, then the last one again.
    assert [replay.run(count, timeout_sec=5).stdout for _ in range(3)] == [*real, real[-1]]
    with pytest.raises(CommandFailed, match="`false` on this machine"):
        replay.run(("false",), timeout_sec=5)
    # Scripts are told apart by their first line, so that the rest of them may change.
    assert replay.run(("sh", "-s"), timeout_sec=5, input_text="# two\nelse").stdout == "2\n"
    with pytest.raises(HostError, match="holds no reply to `false` as root"):
        replay.run(("false",), timeout_sec=5, root=True)


@pytest.mark.parametrize("text", ["", "{}", '{"host": "x", "replies": [{}]}', "[]"])
def test_load_refuses_other_files(tmp_path: Path, text: str) -> None:
    (tmp_path / "host.json").write_text(text)
    with pytest.raises(UsageError, match="cannot be read as a recorded host"):
        RecordedRunner.load(tmp_path / "host.json")
