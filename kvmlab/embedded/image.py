"""The image of the embedded host: found in the cache, or built from Debian packages."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatch
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
    run_tool,
)
from kvmlab.embedded.shared_cache import find_shared
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
    """Return the image of the current recipe, one's own or the shared one; None without any.

    Raises:
        UsageError: the shared one cannot be trusted.
    """
    name = image_recipe.recipe_hash()
    own = directories.images_dir() / name
    manifest = load_own_build(own)
    if manifest is None and (shared := find_shared("images", name)) is not None:
        own, manifest = shared, load_manifest(shared)
    return _image(own, manifest)


def build_image(progress: Progress = lambda line: None) -> Image:
    """Return the image of the current recipe; build it first where it is missing (minutes).

    Raises:
        ImageBuildFailed: a tool or disk space is missing, no network, a package does not install.
        UsageError: the shared image cannot be trusted.
    """
    image = find_image()
    if image is not None:
        return image
    name = image_recipe.recipe_hash()

    def fill(work: Path) -> dict[str, Any]:
        return _fill(work, name, progress)

    build_once(
        directories.images_dir(),
        name,
        fill,
        what="image",
        needed_mib=NEEDED_MIB,
        progress=progress,
    )
    image = find_image()
    assert image is not None
    return image


def _image(path: Path, manifest: dict[str, Any] | None) -> Image | None:
    if manifest is None:
        return None
    try:
        return Image(
            path, str(manifest["recipe"]), str(manifest["kernel"]), dict(manifest["packages"])
        )
    except (KeyError, TypeError, ValueError):
        return None  # of another kvmlab, or damaged: it is built anew


def _fill(work: Path, name: str, progress: Progress) -> dict[str, Any]:
    tar = work / "root.tar"
    progress(
        f"installing {len(image_recipe.packages())} Debian packages into a new root file system"
    )
    bootstrap(
        image_recipe.suite(),
        image_recipe.packages(),
        image_recipe.files_dir(),
        hooks=("{files}/customize.sh",),
        output=tar,
        progress=progress,
    )
    progress("packing the root file system")
    run_tool(
        ("mksquashfs", "-", work / "rootfs.sqfs", "-tar", *UNCOMPRESSED, *QUIET), input_path=tar
    )
    progress("unpacking the kernel and QEMU")
    kernel, packages = _unpack(tar, work)
    tar.unlink()
    return {
        "recipe": name,
        "suite": image_recipe.suite(),
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
