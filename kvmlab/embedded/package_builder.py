"""Builds from Debian packages into the cache: complete or not at all, one builder at a time."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kvmlab.embedded.apt_sources import machine_sources
from kvmlab.embedded.build_seals import check_seals, seal, seals_path
from kvmlab.errors import CommandFailed, CommandTimeout, ImageBuildFailed, reason_of
from kvmlab.file_locks import FileLock
from kvmlab.process import run

Progress = Callable[[str], None]

BUILD_TIMEOUT_SEC = 5400.0
NO_NETWORK_SIGNS = ("resolving", "Could not connect", "Unable to connect", "Failed to fetch")


def load_manifest(path: Path) -> dict[str, Any] | None:
    """Return the manifest of the finished build at ``path``; None where there is none."""
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    finished = isinstance(manifest, dict) and manifest.get("recipe") == path.name
    return manifest if finished else None


def load_own_build(path: Path) -> dict[str, Any] | None:
    """Return the manifest of one's own build at ``path`` once its files are checked.

    A build that an older version left without seals is sealed as it is.

    Raises:
        UsageError: a file of it is not what was built.
    """
    manifest = load_manifest(path)
    if manifest is not None:
        if not seals_path(path).exists():
            seal(path)
        check_seals(path, todo=f"Remove it (`rm -r {path}`); `kvmlab host build` builds it anew.")
    return manifest


def build_once(
    shelf: Path,
    name: str,
    fill: Callable[[Path], dict[str, Any]],
    *,
    what: str,
    needed_mib: int,
    progress: Progress,
) -> Path:
    """Return the directory ``shelf/name``; where it is missing, let ``fill`` build it.

    ``fill`` gets an empty working directory and returns the manifest. The directory appears under
    its name complete or not at all: a build that is killed or runs out of disk leaves a working
    directory that the next build removes. One builder at a time; others wait for it.

    Raises:
        ImageBuildFailed: too little space, a tool that is missing or failed, no network.
    """
    target = shelf / name
    if load_manifest(target) is not None:
        return target
    try:
        with _one_builder(shelf, what, progress):
            if load_manifest(target) is not None:
                return target
            for leftover in shelf.glob(".building-*"):
                shutil.rmtree(leftover, ignore_errors=True)
            for place in (shelf, working_space()):
                _check_space(place, what, needed_mib)
            _build(target, fill)
            progress(f"{what} ready: {target}")
            return target
    except OSError as error:
        raise ImageBuildFailed(
            f"The {what} could not be written: {reason_of(error)}.",
            todo=f"Free {needed_mib} MiB or set XDG_CACHE_HOME to a directory that has them.",
        ) from error


@contextmanager
def _one_builder(shelf: Path, what: str, progress: Progress) -> Iterator[None]:
    lock = FileLock.take(shelf / ".lock")
    if lock is None:
        progress(f"another process is building the {what}; waiting for it")
        descriptor = os.open(shelf / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        lock = FileLock.on_descriptor(descriptor, wait=True)
    assert lock is not None
    with lock:
        yield


def _build(target: Path, fill: Callable[[Path], dict[str, Any]]) -> None:
    work = Path(tempfile.mkdtemp(prefix=".building-", dir=target.parent))
    try:
        manifest = fill(work)
        (work / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        os.sync()
        seals_path(target).unlink(missing_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        work.chmod(0o755)
        work.rename(target)
        seal(target)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def working_space() -> Path:
    """Return where mmdebstrap works: on disk, since /tmp is memory on many machines."""
    return Path(os.environ.get("TMPDIR") or "/var/tmp")


def _check_space(place: Path, what: str, needed_mib: int) -> None:
    free_mib = shutil.disk_usage(place).free // 2**20
    if free_mib < needed_mib:
        raise ImageBuildFailed(
            f"{place} has {free_mib} MiB free; building the {what} needs {needed_mib} MiB.",
            todo="Free some, or set TMPDIR and XDG_CACHE_HOME to a larger file system.",
        )


def bootstrap(
    suite: str,
    packages: Sequence[str],
    files: Path,
    *,
    hooks: Sequence[str],
    output: Path,
    keep_apt: bool = False,
    progress: Progress,
) -> None:
    """Install ``packages`` of Debian's ``suite`` into a new root, run ``hooks``, pack it as tar.

    ``files`` are copied to where the hooks may read them; ``{files}`` in a hook names that copy,
    and the environment variable KVMLAB_FILES too. With ``output`` /dev/null nothing is packed.
    Packages come from this machine's own apt sources where they serve the suite. Works as root, or
    without through user namespaces, as mmdebstrap decides.
    """
    # Under user namespaces "root" is another user, who may not look into our home: the files that
    # the hooks read lie in a directory that anybody may read, for as long as the build takes.
    with _public_directory() as public:
        copy = public / "files"
        shutil.copytree(files, copy)
        for path in [copy, *copy.rglob("*")]:
            path.chmod(0o755)
        run_tool(
            (
                "mmdebstrap",
                "--variant=minbase",
                "--format=null" if output == Path("/dev/null") else "--format=tar",
                f"--include={','.join(packages)}",
                "--dpkgopt=path-exclude=/usr/share/man/*",
                "--dpkgopt=path-exclude=/usr/share/locale/*",
                '--aptopt=APT::Install-Recommends "false"',
                "--aptopt=Acquire::Retries 3",
                *(["--skip=cleanup/apt"] if keep_apt else []),
                *(f"--customize-hook={hook.format(files=copy)}" for hook in hooks),
                suite,
                "-",
                *_mirror(suite, public, progress),
            ),
            output_path=output,
            on_stderr_line=lambda line: _report_step(line, progress),
            # INITRD=No: the lab host has an initrd of its own, so none is made at installation.
            env={
                "TMPDIR": str(public),
                "KVMLAB_FILES": str(copy),
                "INITRD": "No",
            },
        )


def _mirror(suite: str, folder: Path, progress: Progress) -> tuple[str, ...]:
    """Return this machine's sources of the suite in a file; none for mmdebstrap's own choice."""
    sources = machine_sources(suite)
    if not sources:
        progress(
            f"this machine's apt sources have no {suite}: packages come from a mirror of Debian"
        )
        return ()
    progress(f"packages come from this machine's apt sources of {suite}")
    path = folder / "sources.list"
    path.write_text(sources, encoding="utf-8")
    path.chmod(0o644)
    return (str(path),)


@contextmanager
def _public_directory() -> Iterator[Path]:
    """Make a working directory that anybody may read; remove what killed builds left."""
    prefix = f"kvmlab-build-{os.getuid()}-"
    for leftover in working_space().glob(f"{prefix}*"):
        builder = leftover.name.removeprefix(prefix).partition("-")[0]
        if not Path("/proc", builder).exists():
            _remove(leftover)
    public = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=working_space()))
    public.chmod(0o755)
    try:
        yield public
    finally:
        _remove(public)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        # What a user namespace's root left belongs to other user ids; only that root may remove it.
        run(
            ("mmdebstrap", "--unshare-helper", "rm", "-rf", "--one-file-system", path),
            timeout_sec=120,
            check=False,
        )
        shutil.rmtree(path, ignore_errors=True)


def _report_step(line: str, progress: Progress) -> None:
    # mmdebstrap's own steps, and the lines of our hooks that are meant for people.
    for mark in ("I: ", "kvmlab: "):
        if line.startswith(mark):
            progress(line.removeprefix(mark))


def run_tool(
    argv: Sequence[str | Path],
    *,
    input_path: Path | None = None,
    output_path: Path | None = None,
    on_stderr_line: Progress | None = None,
    env: dict[str, str] | None = None,
) -> None:
    """Run one tool of a build; its failure is an ImageBuildFailed that says what to do."""
    name = str(argv[0])
    if shutil.which(name) is None:
        package = {"mksquashfs": "squashfs-tools"}.get(name, name)
        raise ImageBuildFailed(
            f"`{name}` was not found; kvmlab builds with it.",
            todo=f"Install the package `{package}`; `./lab` names everything that is missing.",
        )
    try:
        run(
            (*_bound_to_this_process(), *argv),
            timeout_sec=BUILD_TIMEOUT_SEC,
            input_path=input_path,
            output_path=output_path,
            on_stderr_line=on_stderr_line,
            env=env,
        )
    except (CommandFailed, CommandTimeout) as error:
        raise _build_failed(name, error) from error


def _bound_to_this_process() -> tuple[str, ...]:
    """Return the words that make a tool end with this process and leave no mount behind."""
    # Root's mmdebstrap mounts /proc and others in its new root: in a mount namespace of its own
    # they go with it.
    mounts = ("unshare", "--mount", "--") if os.geteuid() == 0 else ()
    guard = Path(__file__).with_name("orphan_guard.py")
    return (sys.executable, "-I", str(guard), str(os.getpid()), *mounts)


def _build_failed(name: str, error: CommandFailed | CommandTimeout) -> ImageBuildFailed:
    text = error.evidence
    todo = "Its last lines follow; mend the cause and run `kvmlab host build` again."
    if "No space left" in text or "Write failed" in text:
        todo = "The disk is full: free some space, or set TMPDIR and XDG_CACHE_HOME."
    elif any(sign in text for sign in NO_NETWORK_SIGNS):
        todo = "The Debian mirror was not reached: check the network (or http_proxy) and try again."
    elif "cannot change root filesystem propagation" in text:
        todo = (
            "The root directory of this process is no mount point (a plain chroot), so the build "
            "cannot keep its mounts apart from the machine's. Before you enter it: `mount --bind "
            "DIR DIR`, then `chroot DIR`; or use a container."
        )
    elif " does not apply to QEMU " in text:
        todo = (
            "Debian's QEMU has changed where kvmlab patches it: use a newer kvmlab, or start the "
            "host with a QEMU of your own (`kvmlab host up --qemu PATH`)."
        )
    elif any(sign in text for sign in ("newuidmap", "unshare", "subuid")):
        todo = (
            "User namespaces are not usable for you: install `uidmap` and check that /etc/subuid "
            "names you, or build once as root."
        )
    return ImageBuildFailed(
        f"The build stopped: {name} failed. Nothing unfinished was left behind.",
        todo=todo,
        evidence="\n".join(text.splitlines()[-15:]),
    )


def extract(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Write one member to ``target``: files and relative links only, so nothing points outside."""
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
    """Parse dpkg's status file; return package names and versions.

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
