"""The image of the embedded host: found in the cache, or built from Debian packages."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from kvmlab.embedded import paths, recipe
from kvmlab.embedded.building import (
    Progress,
    bootstrap,
    build_once,
    extract,
    load_manifest,
    tool,
)
from kvmlab.errors import ImageBuildFailed

NEEDED_MIB = 1500
"""Free space that a build needs: the tar (350 MB), the squashfs (320 MB), QEMU (150 MB), and as
much again for the tree that mmdebstrap works in when both lie on one file system."""

QEMU_PARTS = (
    "usr/bin/qemu-system-x86_64",
    "usr/lib64/*",
    "usr/lib/x86_64-linux-gnu/*.so*",
    "usr/lib/x86_64-linux-gnu/qemu/*",
    "usr/share/qemu/*",
    "usr/share/seabios/*",
)

# Reading a compressed root would cost emulated instructions at every boot.
UNCOMPRESSED = ("-noI", "-noD", "-noF", "-noX")
QUIET = ("-noappend", "-quiet", "-no-progress")


@dataclass(frozen=True)
class Image:
    """A finished image: a directory that nothing ever writes to again.

    ``rootfs.sqfs`` is the read-only root (the running host lays memory over it), ``vmlinuz`` and
    ``initrd`` boot it, ``qemu/`` holds a QEMU with its loader, libraries and firmware, and
    ``manifest.json`` names every package version.
    """

    path: Path
    recipe_hash: str
    kernel: str
    packages: dict[str, str]

    @property
    def rootfs(self) -> Path:
        """The squashfs root."""
        return self.path / "rootfs.sqfs"

    @property
    def vmlinuz(self) -> Path:
        """The lab host's kernel."""
        return self.path / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """The lab host's initrd."""
        return self.path / "initrd"

    @property
    def qemu_root(self) -> Path:
        """The tree that holds the image's own QEMU."""
        return self.path / "qemu"


def find_image() -> Image | None:
    """The image of today's recipe, or None where it has not been built."""
    return _load(paths.images_dir() / recipe.recipe_hash())


def build_image(progress: Progress = lambda line: None) -> Image:
    """Find the image of today's recipe, or build it (half a minute to a few minutes).

    Raises:
        ImageBuildFailed: a tool or disk space is missing, no network, a package does not install.
    """
    name = recipe.recipe_hash()

    def fill(work: Path) -> dict[str, Any]:
        return _fill(work, name, progress)

    image = _load(
        build_once(
            paths.images_dir(), name, fill, what="image", needed_mib=NEEDED_MIB, progress=progress
        )
    )
    assert image is not None
    return image


def _load(path: Path) -> Image | None:
    manifest = load_manifest(path)
    if manifest is None:
        return None
    return Image(path, manifest["recipe"], manifest["kernel"], manifest["packages"])


def _fill(work: Path, name: str, progress: Progress) -> dict[str, Any]:
    tar = work / "root.tar"
    progress(f"installing {len(recipe.packages())} Debian packages into a new root file system")
    bootstrap(
        recipe.suite(),
        recipe.packages(),
        recipe.files_dir(),
        hooks=("{files}/customize.sh",),
        output=tar,
        progress=progress,
    )
    progress("packing the root file system")
    tool(("mksquashfs", "-", work / "rootfs.sqfs", "-tar", *UNCOMPRESSED, *QUIET), input_path=tar)
    progress("unpacking the kernel and QEMU")
    kernel, packages = _unpack(tar, work)
    tar.unlink()
    return {
        "recipe": name,
        "suite": recipe.suite(),
        "kernel": kernel,
        "built": datetime.now(UTC).isoformat(timespec="seconds"),
        "packages": packages,
    }


def _unpack(tar: Path, work: Path) -> tuple[str, dict[str, str]]:
    kernel = ""
    packages: dict[str, str] = {}
    with tarfile.open(tar) as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if name.startswith("boot/vmlinuz-"):
                kernel = name.removeprefix("boot/vmlinuz-")
                extract(archive, member, work / "vmlinuz")
            elif name == "boot/initrd-host":
                extract(archive, member, work / "initrd")
            elif name == "var/lib/dpkg/status":
                source = archive.extractfile(member)
                assert source is not None
                packages = parse_dpkg_status(source.read().decode())
            elif any(fnmatch(name, part) for part in QEMU_PARTS):
                extract(archive, member, work / "qemu" / name)
    if not kernel or not (work / "initrd").exists():
        raise ImageBuildFailed("The new root file system holds no kernel or no initrd.")
    return kernel, packages


def parse_dpkg_status(text: str) -> dict[str, str]:
    """Package names and versions out of dpkg's status file.

    The file holds paragraphs such as::

        Package: iperf3
        Status: install ok installed
        Version: 3.18-2+deb13u1
    """
    packages = {}
    for paragraph in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line)
        if fields.get("Status") == "install ok installed":
            packages[fields["Package"]] = fields["Version"]
    return packages
