"""Run folders that a crash or a stranger has altered: reported, never read with another meaning."""

from __future__ import annotations

import json
import os
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kvmlab.errors import KvmlabError, OutputError
from kvmlab.results import (
    Result,
    RunInfo,
    RunJournal,
    compare_runs,
    find_run,
    find_runs,
    load,
    load_run,
    save,
    tidy,
)
from kvmlab.results.journal import recovered
from kvmlab.stored_files import controller_id, parse_sealed, sealed
from tests.results.builders import result, trial

MUTATIONS = 150
WHOLE = result(values=(100.0, 110.0))
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 2**70, 1e308, -1e308, "", "x" * 5000, "\x1b[2J", "../../etc/passwd", [], {},
    [[]], {"kind": "host"}, "wall", "virtual",
)  # fmt: skip


def measured(out: Path, results: tuple[Result, ...] = (WHOLE,), *, finished: bool = True) -> Path:
    """Write a measurement as a lab does."""
    journal = RunJournal(out, RunInfo("embedded host", "wall", None, ("the virtio-qemu",)))
    for number, one in enumerate(results):
        journal.begin(number, one)
        for each in one.trials:
            journal.add(number, one.scheme, each, ())
    if finished:
        return journal.finish(results)
    journal.fail("cut")
    return journal.folder


def flips(raw: bytes) -> Iterator[bytes]:
    for place in range(len(raw)):
        for bit in range(8):
            yield raw[:place] + bytes([raw[place] ^ (1 << bit)]) + raw[place + 1 :]


def read(of: Callable[[], tuple[Result, ...]]) -> tuple[Result, ...] | None:
    try:
        return of()
    except OutputError:
        return None


def test_every_flipped_bit_of_the_results_is_noticed(tmp_path: Path) -> None:
    small = Result("e1000", "e1000", "h", WHOLE.clock, None, (trial(1, 9.0),))
    folder = save([small], tmp_path)
    path = folder / "results.json"
    whole = path.read_bytes()
    compact = json.dumps(json.loads(whole), separators=(",", ":")).encode()
    for flipped in flips(compact):
        path.write_bytes(flipped)
        assert read(lambda: load(folder)) in (None, (small,))


def test_every_flipped_bit_of_the_journal_is_noticed(tmp_path: Path) -> None:
    small = Result("e1000", "e1000", "h", WHOLE.clock, None, (trial(1, 9.0), trial(2, 8.0)))
    folder = measured(tmp_path, (small,), finished=False)
    path = folder / "trials.jsonl"
    accepted = 0
    for flipped in flips(path.read_bytes()):
        path.write_bytes(flipped)
        results = read(lambda: recovered(folder))
        if results is not None:
            # Only the newline of the last line can be lost: its trial is as if it was cut short.
            assert [r.trials for r in results] == [small.trials[:1]]
            accepted += 1
    assert accepted == 8


def test_a_journal_cut_at_every_byte_keeps_its_whole_lines(tmp_path: Path) -> None:
    folder = measured(tmp_path, finished=False)
    path = folder / "trials.jsonl"
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        lines = whole[:end].count(b"\n")
        results = recovered(folder)
        assert sum(len(r.trials) for r in results) == max(0, lines - 1)
        assert all(r.trials == WHOLE.trials[: len(r.trials)] for r in results)


def test_results_cut_at_every_byte_are_read_from_the_journal(tmp_path: Path) -> None:
    folder = measured(tmp_path)
    path = folder / "results.json"
    whole = path.read_bytes()
    for end in (*range(0, len(whole) - 1, 7), len(whole) - 2):
        path.write_bytes(whole[:end])
        run = find_run(str(folder))
        assert (run.status, run.trials) == ("finished", 2)
        assert [part.result for part in load_run(run)] == [WHOLE]
    assert "results.json is damaged" in run.detail


def test_a_damaged_record_does_not_hide_a_run_of_notebooks(tmp_path: Path) -> None:
    folder = tmp_path / "evening"
    save([WHOLE], folder / "results" / "nb" / "2026-11-22T150000Z")
    document = {"format": 2, "entries": [{"name": "nb"}], "status": "complete", "started": "x"}
    whole = json.dumps(sealed(document)).encode()
    (folder / "run.json").write_bytes(whole)
    assert [run.status for run in find_runs([tmp_path])] == ["finished"]
    for altered in (*(whole[:end] for end in range(len(whole))), *flips(whole)):
        (folder / "run.json").write_bytes(altered)
        (run,) = find_runs([tmp_path])
        assert run.status in ("damaged", "finished")
        assert run.trials == 2
        assert run.status == "damaged" or run.started == "x"
    assert [part.result for part in load_run(run)] == [WHOLE]


def mutated(value: Any, chance: random.Random) -> Any:
    """Return a copy of a JSON value in which one place is another value, gone, or nested."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(sorted(value))
        if chance.random() < 0.1:
            return {name: one for name, one in value.items() if name != key}
        return {**value, key: mutated(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.85:
        place = chance.randrange(len(value))
        return [*value[:place], mutated(value[place], chance), *value[place + 1 :]]
    if chance.random() < 0.05:
        nested: Any = value
        for _ in range(chance.choice((300, 900))):
            nested = [nested]
        return nested
    return chance.choice(VALUES)


def used(place: Path, sound: Path, *, compared: bool) -> None:
    """Use a run as the commands do; only errors of kvmlab's own are accepted."""
    for run in find_runs([place]):
        json.dumps([run.detail, run.started, list(run.schemes)])
        for unfinished in (False, True):
            try:
                results = [part.result for part in load_run(run, unfinished=unfinished)]
            except KvmlabError:
                continue
            try:
                tidy(results)
                if compared:
                    compare_runs(find_run(str(sound)), run, unfinished=unfinished).to_dict()
            except KvmlabError:
                continue


@pytest.mark.parametrize(
    "count", [MUTATIONS, pytest.param(3000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
@pytest.mark.parametrize("name", ["results.json", "trials.jsonl", "measurement.json"])
def test_files_of_other_types_with_right_checksums(tmp_path: Path, name: str, count: int) -> None:
    """As a stranger could have written them."""
    chance = random.Random(15)
    sound = save([WHOLE], tmp_path / "sound")
    folder = measured(tmp_path / "runs", finished=name != "trials.jsonl")
    text = (folder / name).read_text()
    for turn in range(count):
        lines = text.splitlines() if name == "trials.jsonl" else [text]
        place = chance.randrange(len(lines))
        document = mutated(parse_sealed(lines[place]), chance)
        if isinstance(document, dict):
            document = sealed(document)
        lines[place] = json.dumps(document)
        (folder / name).write_text("\n".join([*lines, ""]))
        used(tmp_path / "runs", sound, compared=turn % 10 == 0)


def test_depth_that_no_parser_takes(tmp_path: Path) -> None:
    folder = measured(tmp_path)
    for deep in ("[" * 200_000, '{"format": 2, "results": ' + "[" * 200_000):
        (folder / "results.json").write_text(deep)
        with pytest.raises(OutputError, match="damaged"):
            load(folder)
        (folder / "trials.jsonl").write_text(deep + "\n")
        assert find_run(str(folder)).status == "damaged"


@pytest.mark.parametrize(
    "name", ["../../secret", "/etc/hostname", "a/b", "..", "", "x\0y", "\x1b["]
)
def test_names_in_a_run_do_not_leave_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("secret")
    folder = save([WHOLE], tmp_path / "run")
    document = parse_sealed((folder / "results.json").read_text())
    for field in ("scheme", "raw"):
        (altered,) = json.loads(json.dumps(document["results"]))
        altered[field] = [name] if field == "raw" else name + "/" + name
        text = json.dumps(sealed({**document, "results": [altered]}))
        (folder / "results.json").write_text(text)
        with pytest.raises(OutputError, match="damaged") as caught:
            load(folder)
        assert "no file name" in str(caught.value)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def door(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("special", [fifo, link, endless, door, Path.mkdir])
@pytest.mark.parametrize("name", ["results.json", "trials.jsonl", "measurement.json", "raw"])
def test_what_is_no_regular_file_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, special: Callable[[Path], None], name: str
) -> None:
    folder = measured(tmp_path, finished=name != "trials.jsonl").rename(tmp_path / "r")
    monkeypatch.chdir(folder)  # a socket's path must be short
    path = Path("raw/00-virtio-qemu/path-trace.txt" if name == "raw" else name)
    path.unlink()
    special(path)
    (run,) = find_runs([tmp_path])
    try:
        parts = load_run(run, unfinished=True)
    except KvmlabError as error:
        assert "regular" in str(error) or "no result" in str(error)  # noqa: PT017
    else:
        assert [part.result for part in parts] == [WHOLE]
        assert name != "raw"


def test_links_inside_a_run_are_not_followed(tmp_path: Path) -> None:
    outside = save([WHOLE], tmp_path / "outside")
    run = tmp_path / "runs" / "evening" / "results"
    run.mkdir(parents=True)
    (run / "nb").symlink_to(outside)
    record = {"entries": [{"name": "nb"}], "status": "complete"}
    (run.parent / "run.json").write_text(json.dumps(record))
    (listed,) = find_runs([tmp_path / "runs"])
    assert listed.trials == 0


def test_a_finished_run_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files and the list of their names: a power cut right afterwards loses nothing."""
    synced: list[str] = []
    real = os.fsync

    def recorded(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    folder = measured(tmp_path)
    assert str(folder) in synced
    assert str(folder.parent) in synced
    names = [Path(path).name for path in synced]
    for name in ("results.json", "measurement.json", "path-trace.txt"):
        assert any(name in one for one in names), name
    assert names.count("trials.jsonl") == 1 + len(WHOLE.trials)


def test_a_run_from_elsewhere_is_told_and_left_alone(tmp_path: Path) -> None:
    folder = measured(tmp_path)
    assert find_run(str(folder)).origin == ""
    about = parse_sealed((folder / "measurement.json").read_text())
    assert about["controller"] == controller_id()
    (folder / "measurement.json").write_text(json.dumps(sealed({**about, "controller": "other"})))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    run = find_run(str(folder))
    assert run.origin == "it was copied from another machine or user"
    load_run(run)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_run_of_another_user_says_so(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    folder = measured(tmp_path)
    os.chown(folder, 12345, 12345)
    run = find_run(str(folder))
    assert run.origin == "it belongs to user 12345"
    assert load_run(run)
