"""The directories of the cache that an embedded host under the virtual clock starts from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvmlab import directories
from kvmlab.embedded.build_seals import check_seals, read_seals
from kvmlab.embedded.emulator import build_emulator, find_emulator
from kvmlab.embedded.image import build_image, find_image
from kvmlab.embedded.lease import Preparation, acquire
from kvmlab.embedded.package_builder import Progress
from kvmlab.embedded.resolver import resolve_config
from kvmlab.embedded.saved_state import all_states, checked_state, find_state
from kvmlab.embedded.settings import Settings
from kvmlab.errors import StateUnfit, UsageError


@dataclass(frozen=True)
class VerifiedBuild:
    """A build or saved state whose files were all read and are those that were written."""

    kind: str
    path: Path
    version: str
    files: int
    packages: Mapping[str, str]
    seals: Mapping[str, Any]


def verify_builds() -> tuple[VerifiedBuild, ...]:
    """Read every file of image, emulator and saved states, and compare it with what was written.

    Raises:
        UsageError: a file is not what was written, or nothing is built here yet.
    """
    image, emulator = find_image(), find_emulator()
    verified = []
    if image is not None:
        verified.append(_verified("image", image.path, f"kernel {image.kernel}", image.packages))
    if emulator is not None:
        version = f"QEMU {emulator.version}, patched"
        verified.append(_verified("emulator", emulator.path, version, emulator.packages))
    if not verified:
        raise UsageError("Nothing is built here yet.", todo="`kvmlab host build` does that.")
    return (*verified, *_verified_states())


def _verified_states() -> Iterator[VerifiedBuild]:
    for directory in all_states(directories.states_dir()):
        try:
            state = checked_state(directory, fully=True)
            count = sum(1 for _ in directory.iterdir())
        except StateUnfit as error:
            if not directory.exists():
                continue  # a start has just replaced it
            raise UsageError(error.message, todo=error.todo) from error
        except FileNotFoundError:
            continue
        yield VerifiedBuild("saved state", directory, f"of {state.created}", count, {}, {})


def _verified(kind: str, path: Path, version: str, packages: Mapping[str, str]) -> VerifiedBuild:
    todo = f"Remove it (`rm -r {path}`); `kvmlab host build` builds it anew."
    files = check_seals(path, todo=todo, fully=True)
    return VerifiedBuild(kind, path, version, files, packages, read_seals(path))


def cached_builds(
    preparation: Preparation | None, *, progress: Progress, with_state: bool
) -> tuple[Path, ...]:
    """Return the directories of image, emulator and, on request, saved state; make what is missing.

    Raises:
        EmbeddedError: one of them cannot be made.
    """
    image = build_image(progress).path
    emulator = build_emulator(progress).path
    if not with_state:
        return image, emulator
    settings = Settings()
    config = resolve_config(settings, preparation.key if preparation else "", progress)
    state = find_state(config.states, config.facts())
    if state is None:
        progress("booting the embedded host once, to save its state")
        acquire(settings, preparation=preparation, progress=progress, private=True).release()
        state = find_state(config.states, config.facts())
    return (image, emulator) if state is None else (image, emulator, state.directory)
