"""Saved states: complete or not there, damaged ones noticed, memory copied without its zeros."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from kvmlab.embedded import saved_state
from kvmlab.embedded.saved_state import CHUNK, PAGE, Facts
from kvmlab.errors import StateUnfit

FACTS = Facts(image="i", qemu="q", accel="tcg", cpu="", machine="m", preparation="p")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Note elsewhere what was read."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def write_state(states: Path, facts: Facts = FACTS) -> None:
    with saved_state.writing(states, facts) as work:
        (work / "ram").write_bytes(b"memory" * 1000)
        (work / "device.state").write_bytes(b"devices")
        (work / "id_ed25519").write_text("key")


def test_a_written_state_is_found_and_private(tmp_path: Path) -> None:
    assert saved_state.find_state(tmp_path, FACTS) is None
    write_state(tmp_path)
    state = saved_state.find_state(tmp_path, FACTS)
    assert state is not None
    assert state.ram_bytes == 6000
    assert state.directory.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in state.directory.iterdir()} == {0o600}


@pytest.mark.parametrize("name", ["image", "qemu", "accel", "cpu", "machine", "preparation"])
def test_any_other_fact_is_another_state(tmp_path: Path, name: str) -> None:
    write_state(tmp_path)
    other = Facts(**{**asdict(FACTS), name: "other"})
    assert other.key != FACTS.key
    assert saved_state.find_state(tmp_path, other) is None


@pytest.mark.parametrize("failure", [ValueError("no"), KeyboardInterrupt()])
def test_a_write_that_ends_early_leaves_nothing(tmp_path: Path, failure: BaseException) -> None:
    def write_half() -> None:
        with saved_state.writing(tmp_path, FACTS) as work:
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
    assert saved_state.find_state(tmp_path, FACTS) is None
    write_state(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == [FACTS.key]


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(StateUnfit, match="is full") as caught,
        saved_state.writing(tmp_path, FACTS),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "cold boot" in caught.value.todo
    assert list(tmp_path.iterdir()) == []


def test_writing_again_replaces(tmp_path: Path) -> None:
    write_state(tmp_path)
    (tmp_path / FACTS.key / "device.state").write_bytes(b"damaged")
    write_state(tmp_path)
    assert saved_state.find_state(tmp_path, FACTS) is not None


@pytest.mark.parametrize("name", ["ram", "device.state", "id_ed25519"])
def test_damage_is_noticed(tmp_path: Path, name: str) -> None:
    write_state(tmp_path)
    file = tmp_path / FACTS.key / name
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(StateUnfit, match=f"its file {name} has changed"):
        saved_state.find_state(tmp_path, FACTS)
    file.unlink()
    with pytest.raises(StateUnfit, match=name):
        saved_state.find_state(tmp_path, FACTS)
    saved_state.discard_state(tmp_path, FACTS)
    assert saved_state.find_state(tmp_path, FACTS) is None


def flip_a_bit(file: Path) -> None:
    """Alter one bit of a file and leave its size and time, as a bad disk does."""
    raw, status = file.read_bytes(), file.stat()
    file.write_bytes(bytes((raw[0] ^ 1,)) + raw[1:])
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_flipped_bit_of_the_memory_is_noticed_before_its_first_use(tmp_path: Path) -> None:
    write_state(tmp_path)
    flip_a_bit(tmp_path / FACTS.key / "ram")
    with pytest.raises(StateUnfit, match="its file ram has changed"):
        saved_state.find_state(tmp_path, FACTS)


def test_later_it_is_noticed_where_the_file_looks_changed_or_everything_is_read(
    tmp_path: Path,
) -> None:
    write_state(tmp_path)
    assert saved_state.find_state(tmp_path, FACTS) is not None
    memory = tmp_path / FACTS.key / "ram"
    flip_a_bit(memory)
    assert saved_state.find_state(tmp_path, FACTS) is not None
    with pytest.raises(StateUnfit, match="its file ram has changed") as caught:
        saved_state.checked_state(memory.parent, fully=True)
    assert f"rm -r {memory.parent}" in caught.value.todo
    memory.touch()
    with pytest.raises(StateUnfit, match="its file ram has changed"):
        saved_state.find_state(tmp_path, FACTS)


def test_a_memory_that_did_not_change_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_state(tmp_path)
    assert saved_state.find_state(tmp_path, FACTS) is not None
    monkeypatch.setattr(saved_state, "hash_of_memory", lambda path: pytest.fail("it was read"))
    assert saved_state.find_state(tmp_path, FACTS) is not None


def test_a_state_of_an_older_version_is_hashed_at_its_first_use(tmp_path: Path) -> None:
    write_state(tmp_path)
    path = tmp_path / FACTS.key / "state.json"
    description = json.loads(path.read_text())
    del description["memory"]
    path.write_text(json.dumps(description))
    assert saved_state.find_state(tmp_path, FACTS) is not None
    flip_a_bit(path.with_name("ram"))
    with pytest.raises(StateUnfit, match="its file ram has changed"):
        saved_state.checked_state(path.parent, fully=True)


def test_the_hash_of_a_memory_is_that_of_its_content(tmp_path: Path) -> None:
    """Zeros that were written count as holes; a page at another place is another memory."""
    size = 3 * CHUNK + 100
    page = b"p" * PAGE
    hashes = {}
    for name, writes in {
        "sparse": [(5, page)],
        "zeros written": [(5, page), (0, bytes(PAGE)), (700, bytes(PAGE))],
        "elsewhere": [(6, page)],
        "nothing": [],
    }.items():
        path = tmp_path / name
        with path.open("wb") as file:
            file.truncate(size)
            for number, data in writes:
                os.pwrite(file.fileno(), data, number * PAGE)
        hashes[name] = saved_state.hash_of_memory(path)
    longer = tmp_path / "longer"
    longer.write_bytes(b"")
    os.truncate(longer, size + PAGE)
    hashes["longer"] = saved_state.hash_of_memory(longer)
    assert hashes["sparse"] == hashes["zeros written"]
    assert len(set(hashes.values())) == 4


def test_a_state_without_description_is_damaged(tmp_path: Path) -> None:
    write_state(tmp_path)
    (tmp_path / FACTS.key / "state.json").write_text("{")
    with pytest.raises(StateUnfit, match="description"):
        saved_state.find_state(tmp_path, FACTS)


def test_pruning_keeps_the_newest_of_images_that_are_there(tmp_path: Path) -> None:
    for number in range(4):
        write_state(tmp_path, replace(FACTS, preparation=str(number)))
    orphan = replace(FACTS, image="removed")
    write_state(tmp_path, orphan)
    (tmp_path / "x.lock").touch()
    saved_state.prune(tmp_path, keep=lambda image: image == "i", newest=3)
    assert saved_state.find_state(tmp_path, orphan) is None
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
    copied_bytes = saved_state.copy_memory(source, target)
    try:
        expected = os.pread(source, size, 0)
    finally:
        os.close(source)
    assert target.read_bytes() == expected
    nonzero = sum(any(expected[at : at + PAGE]) for at in range(0, size, PAGE))
    assert copied_bytes == nonzero * PAGE
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
            saved_state.check_space(states, source)
        assert list(states.iterdir()) == []
    finally:
        os.close(source)
        run(("umount", states), timeout_sec=10)
