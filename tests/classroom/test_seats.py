"""Seats are read from their files, and those are collected on purpose only."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from kvmlab.classroom import (
    Board,
    SeatSource,
    check_seat,
    collect,
    export_class,
    export_seat,
    follow,
    read_seats,
    reset_own_seat,
    set_seat_aside,
)
from kvmlab.classroom.collection import parse_sources
from kvmlab.course import progress
from kvmlab.course.progress import ProgressEvent, TaskState
from kvmlab.deadline import until
from kvmlab.errors import UsageError
from kvmlab.hosts import SshRunner
from tests.classroom.builders import NOW, SEATS, class_folder, served
from tests.hosts.conftest import Server, free_port, runtime, server

__all__ = ["runtime", "server"]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the state directory of one seat."""
    path = tmp_path / "state"
    monkeypatch.setenv("KVMLAB_STATE_HOME", str(path))
    return path


def test_seats_are_read_and_who_wants_help_comes_first(tmp_path: Path) -> None:
    seats = read_seats(class_folder(tmp_path / "class"), now=NOW)
    assert [seat.name for seat in seats] == ["张伟", "alice", "carol"]
    waiting, alice, carol = seats
    assert waiting.help_with == "02-1"
    assert waiting.help_since is not None
    assert dict(alice.tasks) == {"02-1": TaskState.PASSED, "02-2": TaskState.STARTED}
    assert alice.notebook == "02"
    (incident,) = alice.incidents
    # Ten minutes of work, and two that the hint costs.
    assert (incident.label, incident.minutes, incident.hints) == ("seed7-level2", 12.0, 1)
    assert incident.state is TaskState.PASSED
    assert dict(carol.tasks) == {"03-1": TaskState.SOLVED}
    assert carol.incidents[0].state is TaskState.STARTED
    assert carol.incidents[0].minutes == 4  # still open: until now


def test_progress_is_collected_from_files_and_state_directories(
    tmp_path: Path, state: Path
) -> None:
    progress.record("02-1", ProgressEvent.START)
    handed_in = tmp_path / "bob.jsonl"
    assert export_seat(handed_in) == 1
    assert oct(handed_in.stat().st_mode & 0o777) == "0o600"
    folder = tmp_path / "class"
    sources = parse_sources([f"alice={state}", str(handed_in), f"late={tmp_path / 'none'}"])
    assert collect(folder, sources) == ("alice", "bob")
    assert oct(folder.stat().st_mode & 0o777) == "0o700"
    assert [seat.name for seat in read_seats(folder)] == ["alice", "bob", "late"]
    progress.record("02-1", ProgressEvent.CHECK, result="passed")
    assert dict(read_seats(folder)[0].tasks) == {"02-1": TaskState.STARTED}
    follow(folder)
    assert dict(read_seats(folder)[0].tasks) == {"02-1": TaskState.PASSED}
    rows = export_class(folder)
    assert json.loads(json.dumps(rows))[0]["name"] == "alice"


def test_a_private_file_is_not_read_by_others(tmp_path: Path, state: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    progress.record("02-1", ProgressEvent.START)
    progress.progress_path().chmod(0)
    with pytest.raises(UsageError, match="cannot be read"):
        collect(tmp_path / "class", {"alice": state})


@pytest.mark.parametrize("name", ["../x", "a/b", "<b>", "", "x" * 65, ".hidden"])
def test_names_that_are_none_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="name of a seat"):
        collect(tmp_path / "class", {name: tmp_path / "file"})
    assert not list(tmp_path.glob("class/*.jsonl"))


def test_a_seat_is_reset_and_nothing_is_lost(tmp_path: Path, state: Path) -> None:
    folder = class_folder(tmp_path / "class")
    kept = set_seat_aside(folder, "alice")
    assert kept.read_text().count("\n") == len(SEATS["alice"])
    assert "alice" not in [seat.name for seat in read_seats(folder)]
    with pytest.raises(UsageError, match="no seat 'alice'"):
        set_seat_aside(folder, "alice")
    progress.record("02-1", ProgressEvent.START)
    (own,) = reset_own_seat()
    assert "02-1" in own.read_text()
    assert progress.read_progress() == ()
    with pytest.raises(UsageError, match="no progress yet"):
        export_seat(tmp_path / "out.jsonl")


def test_the_check_of_a_machine_names_what_is_missing(tmp_path: Path) -> None:
    enough = {one.name: one for one in check_seat(1)}
    assert {"disk", "memory", "cores", "image of the embedded host"} <= set(enough)
    many = {one.name: one for one in check_seat(100_000, bundle=tmp_path / "none")}
    for name in ("disk", "memory", "cores", "bundle"):
        assert not many[name].ready
        assert many[name].todo


@pytest.mark.usefixtures("runtime")
def test_progress_is_collected_from_another_machine_by_ssh(
    server: Server, tmp_path: Path, state: Path
) -> None:
    """Through a real sshd; one machine that is off does not keep the others from the class."""
    progress.record("02-1", ProgressEvent.START)
    folder = tmp_path / "class"
    seat = {"anna": SeatSource(state, server.target)}
    late = {"late": SeatSource(tmp_path / "none", server.target)}
    assert collect(folder, seat | late) == ("anna",)
    progress.record("02-1", ProgressEvent.CHECK, result="passed")
    off = {"off": SeatSource(None, replace(server.target, port=free_port()))}
    with pytest.raises(UsageError, match=r"progress of off cannot be read.*nothing listens"):
        collect(folder, off | seat)
    assert [name.name for name in read_seats(folder)] == ["anna", "late"]
    assert dict(read_seats(folder)[0].tasks) == {"02-1": TaskState.PASSED}


@pytest.mark.usefixtures("runtime")
def test_who_logs_in_is_found_by_their_own_state_directory(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is known of the machine but the login; its own sshd says where the home is."""
    monkeypatch.delenv("KVMLAB_STATE_HOME", raising=False)
    runner = SshRunner(server.target)
    try:
        home = runner.run(("sh", "-c", "echo $HOME"), timeout_sec=30).stdout.strip()
    finally:
        runner.close()
    path = Path(home) / ".local/state/kvmlab/course/progress.jsonl"
    expected = path.read_text() if path.exists() else ""
    assert SeatSource(None, server.target).read() == expected


def test_a_source_is_a_path_or_a_login() -> None:
    sources = parse_sources(["anna=ssh://anna@pc1:2222", "ssh://bo@pc2/srv/state", "x/carol.jsonl"])
    assert list(sources) == ["anna", "bo", "carol"]
    assert [str(source) for source in sources.values()][:2] == [
        "ssh://anna@pc1:2222",
        "ssh://bo@pc2/srv/state",
    ]
    with pytest.raises(UsageError, match="names no machine"):
        parse_sources(["anna=ssh://-oProxyCommand=x"])


@pytest.mark.usefixtures("runtime")
def test_a_board_follows_another_machine_without_waiting_for_it(
    server: Server, tmp_path: Path, state: Path
) -> None:
    progress.record("02-1", ProgressEvent.START)
    folder = tmp_path / "class"
    collect(folder, {"anna": SeatSource(state, server.target)})
    with served(Board(folder, following=True)) as board:
        progress.record("02-1", ProgressEvent.CHECK, result="passed")
        until(lambda: "02-1 ✓" in board.page("", ""), timeout_sec=60, what="The board")
