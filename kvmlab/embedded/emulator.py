"""The QEMU for emulation: Debian's source package with the patches in ``emulator_files``, built.

Stock QEMU hangs a test VM, soon under ``-icount`` (docs/qemu-svm-event-injection.md) and now and
then without it (docs/qemu-svm-lost-flags.md); the other patches make its virtual clock exact and
fast. Each patch opens with its reason and measurement. The build happens inside a root file system
of its own, so that it needs no compiler of this machine and no root; the result brings its loader,
libraries and firmware and runs wherever the image's QEMU runs.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from kvmlab import directories
from kvmlab.embedded import image_recipe
from kvmlab.embedded.package_builder import (
    Progress,
    bootstrap,
    build_once,
    extract,
    load_manifest,
    load_own_build,
    parse_dpkg_status,
)
from kvmlab.embedded.shared_cache import find_shared

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
    #: The versions of all packages of the system that it was built in; none of an older kvmlab.
    packages: Mapping[str, str]


def recipe_hash() -> str:
    """Return sixteen hex digits that change whenever anything of this recipe does."""
    digest = hashlib.sha256(f"{FORMAT}\n{image_recipe.SUITE}\n{' '.join(PACKAGES)}\n".encode())
    for path in sorted(_files_dir().iterdir()):
        if path.is_file():
            digest.update(f"{path.name}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def find_emulator() -> Emulator | None:
    """Return the build of the current recipe, one's own or the shared one; None without any.

    Raises:
        UsageError: the shared one cannot be trusted.
    """
    name = recipe_hash()
    own = _shelf() / name
    manifest = load_own_build(own)
    if manifest is None and (shared := find_shared("emulators", name)) is not None:
        own, manifest = shared, load_manifest(shared)
    return _emulator(own, manifest)


def build_emulator(progress: Progress = lambda line: None) -> Emulator:
    """Return the build of the current recipe; build it first where it is missing.

    That takes about three minutes of two cores.

    Raises:
        ImageBuildFailed: a tool or disk space is missing, no network, a patch does not apply to
            the source, or it does not compile.
        UsageError: the shared build cannot be trusted.
    """
    present = find_emulator()
    if present is not None:
        return present
    name = recipe_hash()

    def fill(work: Path) -> dict[str, Any]:
        return _fill(work, name, progress)

    build_once(
        _shelf(),
        name,
        fill,
        what="QEMU for emulation",
        needed_mib=NEEDED_MIB,
        progress=progress,
    )
    emulator = find_emulator()
    assert emulator is not None
    return emulator


def _fill(work: Path, name: str, progress: Progress) -> dict[str, Any]:
    progress("installing a compiler into a new root file system")
    tar = work / "out.tar"
    bootstrap(
        image_recipe.SUITE,
        PACKAGES,
        _files_dir(),
        hooks=(
            "{files}/build.sh",
            f"tar-out /kvmlab-out {tar}",
            f"copy-out /var/lib/dpkg/status {work}",
        ),
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
    status = work / "status"
    packages = parse_dpkg_status(status.read_text(encoding="utf-8"))
    status.unlink()
    return {
        "recipe": name,
        "version": version,
        "suite": image_recipe.SUITE,
        "built": datetime.now(UTC).isoformat(timespec="seconds"),
        "packages": packages,
    }


def _emulator(path: Path, manifest: dict[str, Any] | None) -> Emulator | None:
    if manifest is None:
        return None
    try:
        packages = dict(manifest.get("packages", {}))
        return Emulator(path, str(manifest["recipe"]), str(manifest["version"]), packages)
    except (KeyError, TypeError, ValueError):
        return None  # of another kvmlab, or damaged: it is built anew


def _shelf() -> Path:
    return directories.private_dir(directories.cache_dir() / "emulators")


def _files_dir() -> Path:
    with as_file(files("kvmlab.embedded") / "emulator_files") as path:
        return path
