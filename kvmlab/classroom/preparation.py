"""The check of machines before a course: space, memory, cores, image, bundle, and the seats.

Texts are English and are translated where they are shown, so that the answer of another machine
reads in the language of who asked.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kvmlab import bundle_archive, directories, embedded
from kvmlab.capacity import available_memory_mib, usable_cpus
from kvmlab.errors import EXIT_FAILED, EXIT_OK, HostError
from kvmlab.hosts import SshRunner, SshTarget
from kvmlab.process import Completed
from kvmlab.serialization import from_json

#: A seat takes 700 MiB (docs/classroom.md); the rest is for what else somebody opens in JupyterLab.
SEAT_MEMORY_MIB: Final = 1000
SEAT_CORES: Final = 1
SEAT_DISK_MIB: Final = 600
#: Once for a machine: image, QEMU and Python environment.
BASE_DISK_MIB: Final = 2048
BASE_MEMORY_MIB: Final = 1024
#: Looking at a bundle reads all of it.
_REMOTE_SEC: Final = 300.0


@dataclass(frozen=True)
class Readiness:
    """One line of the check: what there is, what is needed, what to do where it is missing.

    ``machine`` is empty for this one.
    """

    name: str
    there: str
    needed: str
    ready: bool
    todo: str = ""
    machine: str = ""


@dataclass(frozen=True)
class _Answer:
    """The part of the answer of `kvmlab class check --json` that counts."""

    checks: tuple[Readiness, ...]


def check_seat(seats: int = 1, *, bundle: Path | None = None) -> tuple[Readiness, ...]:
    """Check this machine for so many seats at once; change nothing, ask no network.

    ``bundle`` is a file for machines without a network; each of its files is compared with its
    hash.
    """
    lines = [_disk(seats), _memory(seats), _cores(seats), _image(), _saved_state()]
    if bundle is not None:
        lines.append(_bundle(bundle))
    return tuple(lines)


def check_remote_seat(
    target: SshTarget, command: Sequence[str], *, seats: int = 1
) -> tuple[Readiness, ...]:
    """Check another machine by the `kvmlab` that is there, over ssh; no password is asked for.

    ``command`` are the words that run it there, such as ``/srv/kvmlab/lab``. A machine that cannot
    be asked is a line that is not ready.
    """
    words = (*command, "class", "check", "--json", "--seats", str(seats))
    try:
        runner = SshRunner(target)
        try:
            done = runner.run(words, timeout_sec=_REMOTE_SEC, check=False)
        finally:
            runner.close()
    except HostError as error:
        line = Readiness("ssh", error.message, "a login without a password", False, error.todo)
        return (_at(target, line),)
    return tuple(_at(target, line) for line in _remote_lines(done, shlex.join(command)))


def _remote_lines(done: Completed, command: str) -> tuple[Readiness, ...]:
    if done.returncode in (EXIT_OK, EXIT_FAILED):
        try:
            return from_json(json.loads(done.stdout), _Answer).checks
        except ValueError:
            pass  # another program of that name, or one that ended early
    last = (done.stderr.strip() or done.stdout.strip() or str(done.returncode)).splitlines()[-1]
    return (
        Readiness(
            "kvmlab",
            f"`{command}`: {last}",
            "kvmlab of this revision",
            False,
            "Set it up there, and name its command: --command '/srv/kvmlab/lab'.",
        ),
    )


def _at(target: SshTarget, line: Readiness) -> Readiness:
    return Readiness(line.name, line.there, line.needed, line.ready, line.todo, target.shown)


def _disk(seats: int) -> Readiness:
    needed = BASE_DISK_MIB + seats * SEAT_DISK_MIB
    if embedded.find_image() is not None:
        needed -= BASE_DISK_MIB
    folder = directories.cache_dir()
    free = shutil.disk_usage(folder).free // 2**20
    return Readiness(
        "disk",
        f"{free} MiB, {folder}",
        f"{needed} MiB",
        free >= needed,
        "Free some space there, or set XDG_CACHE_HOME to a folder on another disk.",
    )


def _memory(seats: int) -> Readiness:
    needed = BASE_MEMORY_MIB + seats * SEAT_MEMORY_MIB
    free = available_memory_mib()
    return Readiness(
        "memory",
        f"{free} MiB",
        f"{needed} MiB",
        free >= needed,
        "End other programs, use a larger machine, or let two people share a seat.",
    )


def _cores(seats: int) -> Readiness:
    cores = usable_cpus()
    return Readiness(
        "cores",
        str(cores),
        str(seats * SEAT_CORES),
        cores >= seats * SEAT_CORES,
        "Give each seat a machine of its own, or let two people share a seat. With fewer cores it "
        "works, but everybody waits; figures under the virtual clock stay the same.",
    )


def _image() -> Readiness:
    image = embedded.find_image()
    return Readiness(
        "image of the embedded host",
        str(image.path) if image is not None else "-",
        "1",
        image is not None,
        "Build it while there is a network: `kvmlab host build` (minutes).",
    )


def _saved_state() -> Readiness:
    states = [path for path in directories.states_dir().iterdir() if path.is_dir()]
    return Readiness(
        "saved state of a booted host",
        str(len(states)),
        "1",
        bool(states),
        "Boot it once, so that it starts in seconds: `kvmlab host up && kvmlab host down`.",
    )


def _bundle(path: Path) -> Readiness:
    """Compare every file of a bundle with its hash, and the bundle with this Python and lock."""
    lock = Path(__file__).resolve().parents[2] / "requirements.lock"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else ""
    try:
        files = bundle_archive.verify(path, lock_sha256=digest)["files"]
        there = f"{path}: {len(files)} files, each with its hash"
        ready = True
    except bundle_archive.BundleError as error:
        there = f"{path}: {error}"
        ready = False
    return Readiness(
        "bundle",
        there,
        "for this revision, whole",
        ready,
        "Make it on a machine with a network, on the same revision: `./lab bundle FILE`.",
    )
