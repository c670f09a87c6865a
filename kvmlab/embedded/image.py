"""The image of the embedded host: found in the cache, or built from Debian packages."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path

from kvmlab.embedded import recipe
from kvmlab.errors import CommandFailed, CommandTimeout, ImageBuildFailed
from kvmlab.process import run

Progress = Callable[[str], None]

BUILD_TIMEOUT_SEC = 3600.0
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
NO_NETWORK_SIGNS = ("resolving", "Could not connect", "Unable to connect", "Failed to fetch")


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


def cache_dir() -> Path:
    """Where images and states are kept: ``$XDG_CACHE_HOME/kvmlab`` or ``~/.cache/kvmlab``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kvmlab"


def find_image() -> Image | None:
    """The image of today's recipe, or None where it has not been built."""
    return _load(_images_dir() / recipe.recipe_hash())


def build_image(progress: Progress = lambda line: None) -> Image:
    """Find the image of today's recipe, or build it. One builder at a time; others wait for it.

    An image appears under its name complete or not at all: a build that is killed or runs out of
    disk leaves only a working directory, which the next build removes.

    Raises:
        ImageBuildFailed: a tool or disk space is missing, no network, a package does not install.
    """
    found = find_image()
    if found is not None:
        return found
    try:
        _images_dir().mkdir(parents=True, exist_ok=True)
        with _one_builder(progress):
            found = find_image()
            if found is not None:
                return found
            return _build(progress)
    except OSError as error:
        raise ImageBuildFailed(
            f"The image could not be written: {error.strerror} ({error.filename or 'cache'}).",
            todo=f"Free {NEEDED_MIB} MiB or set XDG_CACHE_HOME to a directory that has them.",
        ) from error


def _images_dir() -> Path:
    return cache_dir() / "images"


def _load(path: Path) -> Image | None:
    try:
        manifest = json.loads((path / "manifest.json").read_text())
        return Image(path, manifest["recipe"], manifest["kernel"], manifest["packages"])
    except (OSError, ValueError, KeyError):
        return None


@contextmanager
def _one_builder(progress: Progress) -> Iterator[None]:
    with (_images_dir() / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another process is building the image; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(progress: Progress) -> Image:
    for leftover in _images_dir().glob(".building-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    _check_tools()
    tmp = Path(os.environ.get("TMPDIR") or "/var/tmp")
    for place in (_images_dir(), tmp):
        _check_space(place)
    name = recipe.recipe_hash()
    work = Path(tempfile.mkdtemp(prefix=".building-", dir=_images_dir()))
    try:
        _fill(work, name, tmp, progress)
        os.sync()
        target = _images_dir() / name
        shutil.rmtree(target, ignore_errors=True)
        work.chmod(0o755)
        work.rename(target)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    image = _load(target)
    assert image is not None
    progress(f"image ready: {image.path}")
    return image


def _fill(work: Path, name: str, tmp: Path, progress: Progress) -> None:
    tar = work / "root.tar"
    progress(f"installing {len(recipe.PACKAGES)} Debian packages into a new root file system")
    _bootstrap(tar, tmp, progress)
    progress("packing the root file system")
    _tool(
        ("mksquashfs", "-", work / "rootfs.sqfs", "-tar", *UNCOMPRESSED, *QUIET),
        input_path=tar,
    )
    progress("unpacking the kernel and QEMU")
    kernel, packages = _unpack(tar, work)
    tar.unlink()
    manifest = {
        "recipe": name,
        "suite": recipe.SUITE,
        "kernel": kernel,
        "built": datetime.now(UTC).isoformat(timespec="seconds"),
        "packages": packages,
    }
    (work / "manifest.json").write_text(json.dumps(manifest, indent=1))


def _bootstrap(tar: Path, tmp: Path, progress: Progress) -> None:
    # Under user namespaces "root" is another user, who may not look into our home: the files that
    # the hook reads lie in a directory that anybody may read, for as long as the build takes.
    with tempfile.TemporaryDirectory(prefix="kvmlab-build-", dir=tmp) as shared:
        public = Path(shared)
        public.chmod(0o755)
        files = public / "files"
        shutil.copytree(recipe.files_dir(), files)
        for path in [files, *files.rglob("*")]:
            path.chmod(0o755)
        _tool(
            (
                "mmdebstrap",
                "--variant=minbase",
                "--format=tar",
                f"--include={','.join(recipe.PACKAGES)}",
                "--dpkgopt=path-exclude=/usr/share/man/*",
                "--dpkgopt=path-exclude=/usr/share/locale/*",
                '--aptopt=APT::Install-Recommends "false"',
                "--aptopt=Acquire::Retries 3",
                f"--customize-hook={files / 'customize.sh'}",
                recipe.SUITE,
                "-",
            ),
            output_path=tar,
            on_stderr_line=lambda line: progress(line[3:]) if line.startswith("I: ") else None,
            # INITRD=No: the lab host has an initrd of its own, so none is made at installation.
            env={"TMPDIR": str(tmp), "KVMLAB_FILES": str(files), "INITRD": "No"},
        )


def _tool(
    argv: Sequence[str | Path],
    *,
    input_path: Path | None = None,
    output_path: Path | None = None,
    on_stderr_line: Progress | None = None,
    env: dict[str, str] | None = None,
) -> None:
    try:
        run(
            argv,
            timeout_sec=BUILD_TIMEOUT_SEC,
            input_path=input_path,
            output_path=output_path,
            on_stderr_line=on_stderr_line,
            env=env,
        )
    except (CommandFailed, CommandTimeout) as error:
        raise _build_failed(str(argv[0]), error) from error


def _build_failed(tool: str, error: CommandFailed | CommandTimeout) -> ImageBuildFailed:
    text = error.evidence
    todo = "Its own last words follow; mend the cause and run `kvmlab host build` again."
    if "No space left" in text or "Write failed" in text:
        todo = f"The disk is full: free {NEEDED_MIB} MiB (or set TMPDIR, XDG_CACHE_HOME)."
    elif any(sign in text for sign in NO_NETWORK_SIGNS):
        todo = "The Debian mirror was not reached: check the network (or http_proxy) and try again."
    elif "newuidmap" in text or "unshare" in text or "subuid" in text:
        todo = (
            "User namespaces are not usable for you: install `uidmap` and check that /etc/subuid "
            "names you, or build once as root."
        )
    return ImageBuildFailed(
        f"The image was not built: {tool} failed. Nothing unfinished was left behind.",
        todo=todo,
        evidence="\n".join(text.splitlines()[-15:]),
    )


def _unpack(tar: Path, work: Path) -> tuple[str, dict[str, str]]:
    kernel = ""
    packages: dict[str, str] = {}
    with tarfile.open(tar) as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if name.startswith("boot/vmlinuz-"):
                kernel = name.removeprefix("boot/vmlinuz-")
                _extract(archive, member, work / "vmlinuz")
            elif name == "boot/initrd-host":
                _extract(archive, member, work / "initrd")
            elif name == "var/lib/dpkg/status":
                source = archive.extractfile(member)
                assert source is not None
                packages = parse_dpkg_status(source.read().decode())
            elif any(fnmatch(name, part) for part in QEMU_PARTS):
                _extract(archive, member, work / "qemu" / name)
    if not kernel or not (work / "initrd").exists():
        raise ImageBuildFailed("The new root file system holds no kernel or no initrd.")
    return kernel, packages


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    # Only files and relative links: what is extracted never points out of the image.
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.issym() and not member.linkname.startswith("/"):
        target.symlink_to(member.linkname)
    elif member.isfile() or member.islnk():
        source = archive.extractfile(member)
        assert source is not None
        with target.open("wb") as file:
            shutil.copyfileobj(source, file)
        target.chmod(member.mode & 0o755)


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


def _check_tools() -> None:
    for tool, package in (("mmdebstrap", "mmdebstrap"), ("mksquashfs", "squashfs-tools")):
        if shutil.which(tool) is None:
            raise ImageBuildFailed(
                f"`{tool}` was not found; the image is built with it.",
                todo=f"Install the package `{package}`; `./lab` names everything that is missing.",
            )


def _check_space(place: Path) -> None:
    free_mib = shutil.disk_usage(place).free // 2**20
    if free_mib < NEEDED_MIB:
        raise ImageBuildFailed(
            f"{place} has {free_mib} MiB free; building the image needs {NEEDED_MIB} MiB.",
            todo="Free some, or set TMPDIR and XDG_CACHE_HOME to a larger file system.",
        )
