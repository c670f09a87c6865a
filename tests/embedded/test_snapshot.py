"""Saved states: complete or not there, damaged ones noticed, memory copied without its zeros."""

from __future__ import annotations

import errno
import os
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from kvmlab.embedded import snapshot
from kvmlab.embedded.snapshot import CHUNK, PAGE, Facts
from kvmlab.errors import StateUnfit

FACTS = Facts(image="i", qemu="q", accel="tcg", cpu="", machine="m", preparation="p")


def write_state(states: Path, facts: Facts = FACTS) -> None:
    with snapshot.writing(states, facts) as work:
        (work / "ram").write_bytes(b"memory" * 1000)
        (work / "device.state").write_bytes(b"devices")
        (work / "id_ed25519").write_text("key")


def test_a_written_state_is_found_and_private(tmp_path: Path) -> None:
    assert snapshot.find_state(tmp_path, FACTS) is None
    write_state(tmp_path)
    state = snapshot.find_state(tmp_path, FACTS)
    assert state is not None
    assert state.ram_bytes == 6000
    assert state.directory.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in state.directory.iterdir()} == {0o600}


@pytest.mark.parametrize("name", ["image", "qemu", "accel", "cpu", "machine", "preparation"])
def test_any_other_fact_is_another_state(tmp_path: Path, name: str) -> None:
    write_state(tmp_path)
    other = Facts(**{**asdict(FACTS), name: "other"})
    assert other.key != FACTS.key
    assert snapshot.find_state(tmp_path, other) is None


@pytest.mark.parametrize("failure", [ValueError("no"), KeyboardInterrupt()])
def test_a_write_that_ends_early_leaves_nothing(tmp_path: Path, failure: BaseException) -> None:
    def write_half() -> None:
        with snapshot.writing(tmp_path, FACTS) as work:
            (work / "ram").write_bytes(b"half")
            raise failure

    with pytest.raises(type(failure)):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_leaves_nothing_that_counts_and_the_next_one_removes_it(
    tmp_path: Path,
) -> None:
    leftover = tmp_path / f".{FACTS.key}.dead"
    leftover.mkdir()
    (leftover / "ram").write_bytes(b"half")
    assert snapshot.find_state(tmp_path, FACTS) is None
    write_state(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == [FACTS.key]


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(StateUnfit, match="is full") as caught,
        snapshot.writing(tmp_path, FACTS),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "cold boot" in caught.value.todo
    assert list(tmp_path.iterdir()) == []


def test_writing_again_replaces(tmp_path: Path) -> None:
    write_state(tmp_path)
    (tmp_path / FACTS.key / "device.state").write_bytes(b"damaged")
    write_state(tmp_path)
    assert snapshot.find_state(tmp_path, FACTS) is not None


@pytest.mark.parametrize("name", ["ram", "device.state", "id_ed25519"])
def test_damage_is_noticed(tmp_path: Path, name: str) -> None:
    write_state(tmp_path)
    file = tmp_path / FACTS.key / name
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(StateUnfit, match=f"its file {name} has changed"):
        snapshot.find_state(tmp_path, FACTS)
    file.unlink()
    with pytest.raises(StateUnfit, match=name):
        snapshot.find_state(tmp_path, FACTS)
    snapshot.discard_state(tmp_path, FACTS)
    assert snapshot.find_state(tmp_path, FACTS) is None


def test_a_state_without_description_is_damaged(tmp_path: Path) -> None:
    write_state(tmp_path)
    (tmp_path / FACTS.key / "state.json").write_text("{")
    with pytest.raises(StateUnfit, match="description"):
        snapshot.find_state(tmp_path, FACTS)


def test_pruning_keeps_the_newest_of_images_that_are_there(tmp_path: Path) -> None:
    for number in range(4):
        write_state(tmp_path, replace(FACTS, preparation=str(number)))
    gone = replace(FACTS, image="gone")
    write_state(tmp_path, gone)
    (tmp_path / "x.lock").touch()
    snapshot.prune(tmp_path, keep=lambda image: image == "i", newest=3)
    assert snapshot.find_state(tmp_path, gone) is None
    assert sum(entry.is_dir() for entry in tmp_path.iterdir()) == 3
    assert (tmp_path / "x.lock").exists()


def memory(*pages: tuple[int, bytes], size: int) -> int:
    descriptor = os.memfd_create("test")
    os.ftruncate(descriptor, size)
    for number, content in pages:
        os.pwrite(descriptor, content, number * PAGE)
    return descriptor


@settings(max_examples=60)
@given(
    pages=some.lists(
        some.tuples(
            some.integers(0, 2 * CHUNK // PAGE + 3),
            some.one_of(some.just(bytes(PAGE)), some.binary(min_size=1, max_size=PAGE + 10)),
        ),
        max_size=12,
    )
)
def test_memory_is_copied_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, pages: list[tuple[int, bytes]]
) -> None:
    size = 2 * CHUNK + 5 * PAGE
    source = memory(*pages, size=size)
    os.ftruncate(source, size)
    target = tmp_path_factory.mktemp("copy") / "ram"
    kept = snapshot.copy_memory(source, target)
    try:
        expected = os.pread(source, size, 0)
    finally:
        os.close(source)
    assert target.read_bytes() == expected
    nonzero = sum(any(expected[at : at + PAGE]) for at in range(0, size, PAGE))
    assert kept == nonzero * PAGE
    # A file system may allocate in larger pieces, but zeros in bulk take nothing.
    assert target.stat().st_blocks * 512 <= max(1, nonzero) * 16 * PAGE
    target.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_small_disk_is_noticed_before_anything_is_written(tmp_path: Path) -> None:
    from kvmlab.process import run

    states = tmp_path / "states"
    states.mkdir()
    run(("mount", "-t", "tmpfs", "-o", "size=70M", "small", states), timeout_sec=10)
    source = memory((0, b"x" * 2**20 * 8), size=2**24)
    try:
        with pytest.raises(StateUnfit, match="70 MiB free and 72 MiB are needed"):
            snapshot.check_space(states, source)
        assert list(states.iterdir()) == []
    finally:
        os.close(source)
        run(("umount", states), timeout_sec=10)
