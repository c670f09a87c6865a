"""Saved states of the lab host: find, write, discard, prune.

A state is a directory that is written once and then only read::

    states/<key>/
        state.json                 what it is, and the size or hash of each file; written last
        ram                        the memory, sparse: pages of zeros take no space
        device.state               everything else of the machine
        id_ed25519(.pub), ssh_host_ed25519_key(.pub)    the keys that the host was booted with

The key is a hash of all that the state depends on, so a state that does not fit is not found. Any
number of hosts can run from one state, since each maps the memory privately.

The small files are hashed at each use. The memory is hashed when it is written, and read again when
its size, time or place has changed since it was last read, or on request: a start would otherwise
take as long again (docs/decisions).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kvmlab import directories
from kvmlab.embedded.build_seals import file_status, stamp_path
from kvmlab.embedded.ssh_keys import Keys
from kvmlab.errors import StateUnfit

FORMAT = 1
PAGE = 4096
CHUNK = 256 * PAGE
#: The memory is hashed in blocks, of which those of zeros are left out.
BLOCK = 16 * PAGE
SPARE_BYTES = 64 * 2**20
KEPT_STATES = 4

_ZERO_PAGE = bytes(PAGE)
_ZERO_CHUNK = bytes(CHUNK)
_ZERO_BLOCK = bytes(BLOCK)


@dataclass(frozen=True)
class Facts:
    """The dependencies of a state. States with equal facts are interchangeable."""

    image: str
    qemu: str
    accel: str
    cpu: str
    machine: str
    preparation: str
    format: int = FORMAT

    @property
    def key(self) -> str:
        """The name of the state: a hash of all of the facts."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:20]


@dataclass(frozen=True)
class State:
    """A saved state on disk."""

    directory: Path
    ram_bytes: int
    created: str

    @property
    def ram(self) -> Path:
        """The memory."""
        return self.directory / "ram"

    @property
    def device_state(self) -> Path:
        """Everything but the memory."""
        return self.directory / "device.state"

    @property
    def keys(self) -> Keys:
        """The keys of the host that was saved."""
        return Keys(self.directory)

    @property
    def size_bytes(self) -> int:
        """Bytes it takes on disk."""
        return sum(file.stat().st_blocks * 512 for file in self.directory.iterdir())


def find_state(states: Path, facts: Facts) -> State | None:
    """Return the saved state for ``facts``; None where there is none.

    Raises:
        StateUnfit: it is there, and damaged.
    """
    directory = states / facts.key
    return checked_state(directory) if directory.exists() else None


def checked_state(directory: Path, *, fully: bool = False) -> State:
    """Check the saved state in ``directory`` and return it.

    Its memory is read where it has changed since it was last read, or with ``fully``. A state that
    an older version has left without a hash of its memory gets it now.

    Raises:
        StateUnfit: it is damaged.
    """
    try:
        data = json.loads((directory / "state.json").read_text(encoding="utf-8"))
        state = State(directory, int(data["ram_bytes"]), str(data["created"]))
        seals = dict(data["files"])
        memory = data.get("memory")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise StateUnfit(
            f"The saved state {directory.name} has no readable description: {error}."
        ) from error
    for name, seal in seals.items():
        if _seal(directory / name) != seal:
            raise _damaged(directory, name)
    stamp, status = stamp_path(directory), file_status(state.ram)
    if memory is None:
        memory = hash_of_memory(state.ram)
        _write_description(directory, {**data, "memory": memory})
    elif fully or not stamp.exists() or stamp.read_text(encoding="ascii") != f"{memory} {status}":
        if hash_of_memory(state.ram) != memory:
            raise _damaged(directory, state.ram.name)
    else:
        return state
    directories.write_atomically(stamp, f"{memory} {status}")
    return state


def _damaged(directory: Path, name: str) -> StateUnfit:
    return StateUnfit(
        f"The saved state {directory.name} is damaged: its file {name} has changed.",
        todo=f"Remove it (`rm -r {directory}`); the next start boots the host and saves another.",
    )


def all_states(states: Path) -> Iterator[Path]:
    """Yield the directories of the saved states, of whatever facts, by name."""
    for directory in sorted(states.iterdir()):
        if directory.is_dir() and not directory.name.startswith("."):
            yield directory


def hash_of_memory(path: Path) -> str:
    """Return a hash of a memory, which is the same whether its zeros are holes or not.

    It covers every block that is not all zeros, with its place, and the size.
    """
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as memory:
        descriptor = memory.fileno()
        size = os.fstat(descriptor).st_size
        position = 0
        for start, end in _data_ranges(descriptor, size):
            position = max(position, start - start % BLOCK)
            while position < end:
                data = memoryview(os.pread(descriptor, CHUNK, position))
                for offset in range(0, len(data), BLOCK):
                    block = data[offset : offset + BLOCK]
                    if block != _ZERO_BLOCK[: len(block)]:
                        digest.update((position + offset).to_bytes(8, "big"))
                        digest.update(block)
                position += CHUNK
        digest.update(size.to_bytes(8, "big"))
    return digest.hexdigest()


def discard_state(states: Path, facts: Facts) -> None:
    """Remove the state of ``facts``, damaged or not. Hosts that run from it run on."""
    _remove(states / facts.key)


def check_space(states: Path, ram_fd: int) -> None:
    """Raise StateUnfit if the disk cannot take the memory behind ``ram_fd``."""
    needed = os.fstat(ram_fd).st_blocks * 512 + SPARE_BYTES
    free = shutil.disk_usage(states).free
    if free < needed:
        raise StateUnfit(
            f"The state is not saved: {states} has {free // 2**20} MiB free and "
            f"{needed // 2**20} MiB are needed.",
            todo="Free some space; until then every start is a cold boot.",
        )


@contextmanager
def writing(states: Path, facts: Facts) -> Iterator[Path]:
    """Make a directory to write a state into; it gets its name when the block ends well.

    Whatever ends the block otherwise, also a crash of the machine, leaves nothing that
    `find_state` would take for a state.

    Raises:
        StateUnfit: the disk is full.
    """
    # One writer per key at a time holds the lock of that key, so these can only be leftovers.
    for leftover in states.glob(f".{facts.key}.*"):
        _remove(leftover)
    work = Path(tempfile.mkdtemp(dir=states, prefix=f".{facts.key}."))
    try:
        yield work
        _describe(work, facts)
        _sync(work)
        _remove(states / facts.key)
        work.rename(states / facts.key)
        _sync_directory(states)
    except OSError as error:
        _remove(work)
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StateUnfit(
            f"The state is not saved: the disk under {states} is full.",
            todo="Free some space; until then every start is a cold boot.",
        ) from error
    except BaseException:
        _remove(work)
        raise


def copy_memory(ram_fd: int, target: Path) -> int:
    """Copy the memory behind ``ram_fd`` to ``target``, with holes for pages of zeros.

    Returns the number of bytes in the other pages.
    """
    size = os.fstat(ram_fd).st_size
    copied_bytes = 0
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.ftruncate(descriptor, size)
        for start, end in _data_ranges(ram_fd, size):
            for offset in range(start, end, CHUNK):
                data = os.pread(ram_fd, min(CHUNK, end - offset), offset)
                copied_bytes += _write_pages(descriptor, data, offset)
    finally:
        os.close(descriptor)
    return copied_bytes


def prune(states: Path, *, keep: Callable[[str], bool], newest: int = KEPT_STATES) -> None:
    """Remove states whose image is gone (``keep`` decides by image hash), and all but the newest.

    A host that runs from a removed state runs on; its memory is mapped.
    """
    ranked = []
    for directory in all_states(states):
        try:
            data: dict[str, Any] = json.loads((directory / "state.json").read_text("utf-8"))
            image, created = str(data["facts"]["image"]), str(data["created"])
        except (OSError, ValueError, LookupError, TypeError):
            image, created = "", ""
        ranked.append((keep(image), created, directory))
    ranked.sort(key=lambda entry: entry[:2], reverse=True)
    for number, (has_image, _, directory) in enumerate(ranked):
        if not has_image or number >= newest:
            _remove(directory)


def _describe(work: Path, facts: Facts) -> None:
    files = {file.name: _seal(file) for file in sorted(work.iterdir())}
    description = {
        "facts": asdict(facts),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "ram_bytes": (work / "ram").stat().st_size,
        "files": files,
        "memory": hash_of_memory(work / "ram"),
    }
    _write_description(work, description)


def _write_description(directory: Path, description: Mapping[str, Any]) -> None:
    text = json.dumps(description, indent=1) + "\n"
    directories.write_atomically(directory / "state.json", text, mode=0o600, durable=True)


def _seal(file: Path) -> str:
    """Return what shows that a file is unchanged: its size, and for all but the memory its hash."""
    try:
        size = file.stat().st_size
        if file.name == "ram":
            return f"{size} {file.stat().st_blocks > 0}"
        with file.open("rb") as content:
            return f"{size} {hashlib.file_digest(content, 'sha256').hexdigest()}"
    except FileNotFoundError:
        return "missing"


def _data_ranges(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    position = 0
    while position < size:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        position = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, position


def _write_pages(descriptor: int, data: bytes, offset: int) -> int:
    """Write the runs of pages in ``data`` that are not all zeros; return their size in bytes."""
    if data == _ZERO_CHUNK[: len(data)]:
        return 0
    written_bytes = 0
    run_start: int | None = None
    for position in range(0, len(data) + PAGE, PAGE):
        page = data[position : position + PAGE]
        blank = not page or page == _ZERO_PAGE[: len(page)]
        if not blank and run_start is None:
            run_start = position
        elif blank and run_start is not None:
            _write_all(descriptor, data[run_start:position], offset + run_start)
            written_bytes += min(position, len(data)) - run_start
            run_start = None
    return written_bytes


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data = data[written:]
        offset += written


def _sync(directory: Path) -> None:
    for file in directory.iterdir():
        file.chmod(0o600)
        with file.open("rb") as content:
            os.fsync(content.fileno())
    _sync_directory(directory)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(directory: Path) -> None:
    """Remove a state so that a killed removal leaves nothing that looks like one."""
    (directory / "state.json").unlink(missing_ok=True)
    shutil.rmtree(directory, ignore_errors=True)
    stamp_path(directory).unlink(missing_ok=True)
