"""The QEMU for emulation: built from Debian's source package with two defects cured.

Stock QEMU hangs a test VM, soon under ``-icount`` (docs/qemu-svm-event-injection.md) and now and
then without it (docs/qemu-svm-lost-flags.md). The build happens inside a root file system of its
own, so that it needs no compiler of this machine and no root; the result brings its loader,
libraries and firmware and runs wherever the image's QEMU runs.
"""

from __future__ import annotations

import hashlib
import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from kvmlab.embedded import paths, recipe
from kvmlab.embedded.building import Progress, bootstrap, build_once, extract, load_manifest

FORMAT = 1
NEEDED_MIB = 2500
"""Free space that a build needs: compiler and headers (1 GB), source and objects (1.2 GB)."""

PACKAGES = (
    "gcc",
    "libc6-dev",
    "dpkg-dev",
    "meson",
    "ninja-build",
    "flex",
    "bison",
    "pkg-config",
    "python3",
    "python3-venv",
    "python3-pycotap",
    "patch",
    "xz-utils",
    "libglib2.0-dev",
    "libslirp-dev",
    "libfdt-dev",
    "zlib1g-dev",
    "seabios",
    "qemu-system-data",
)


@dataclass(frozen=True)
class Emulator:
    """A finished build: ``qemu/`` below ``path`` holds program, loader, libraries and firmware."""

    path: Path
    recipe_hash: str
    version: str


def recipe_hash() -> str:
    """Sixteen hex digits that change whenever anything of this recipe does."""
    digest = hashlib.sha256(f"{FORMAT}\n{recipe.SUITE}\n{' '.join(PACKAGES)}\n".encode())
    for path in sorted(_files_dir().iterdir()):
        if path.is_file():
            digest.update(f"{path.name}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def find_emulator() -> Emulator | None:
    """The build of today's recipe, or None where there is none."""
    return _load(_shelf() / recipe_hash())


def build_emulator(progress: Progress = lambda line: None) -> Emulator:
    """Find the build of today's recipe, or build it (about three minutes of two cores).

    Raises:
        ImageBuildFailed: a tool or disk space is missing, no network, the source has changed so
            that the cure does not fit, or it does not compile.
    """
    name = recipe_hash()

    def fill(work: Path) -> dict[str, Any]:
        return _fill(work, name, progress)

    emulator = _load(
        build_once(
            _shelf(),
            name,
            fill,
            what="QEMU for emulation",
            needed_mib=NEEDED_MIB,
            progress=progress,
        )
    )
    assert emulator is not None
    return emulator


def _fill(work: Path, name: str, progress: Progress) -> dict[str, Any]:
    progress("installing a compiler into a new root file system")
    tar = work / "out.tar"
    bootstrap(
        recipe.SUITE,
        PACKAGES,
        _files_dir(),
        hooks=("{files}/build.sh", f"tar-out /kvmlab-out {tar}"),
        output=Path("/dev/null"),
        keep_apt=True,
        progress=progress,
    )
    version = ""
    with tarfile.open(tar) as archive:
        for member in archive:
            inside = member.name.removeprefix("./").removeprefix("kvmlab-out/")
            if inside == "version":
                source = archive.extractfile(member)
                assert source is not None
                version = source.read().decode().strip()
            elif not member.isdir():
                extract(archive, member, work / "qemu" / inside)
    tar.unlink()
    return {
        "recipe": name,
        "version": version,
        "built": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _load(path: Path) -> Emulator | None:
    manifest = load_manifest(path)
    if manifest is None:
        return None
    return Emulator(path, manifest["recipe"], manifest["version"])


def _shelf() -> Path:
    return paths.private_dir(paths.cache_dir() / "emulators")


def _files_dir() -> Path:
    with as_file(files("kvmlab.embedded") / "emulator_files") as path:
        return path
