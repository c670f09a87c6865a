"""Building from Debian packages into the cache: whole or not at all, one builder at a time."""

from __future__ import annotations

import fcntl
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

from kvmlab.errors import CommandFailed, CommandTimeout, ImageBuildFailed
from kvmlab.process import run

Progress = Callable[[str], None]

BUILD_TIMEOUT_SEC = 5400.0
NO_NETWORK_SIGNS = ("resolving", "Could not connect", "Unable to connect", "Failed to fetch")


def load_manifest(path: Path) -> dict[str, Any] | None:
    """The manifest of a finished thing at ``path``, or None where there is none."""
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


def build_once(
    shelf: Path,
    name: str,
    fill: Callable[[Path], dict[str, Any]],
    *,
    what: str,
    needed_mib: int,
    progress: Progress,
) -> Path:
    """The directory ``shelf/name``, filled by ``fill`` if it is not there yet.

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
            f"The {what} could not be written: {error.strerror or error}.",
            todo=f"Free {needed_mib} MiB or set XDG_CACHE_HOME to a directory that has them.",
        ) from error


@contextmanager
def _one_builder(shelf: Path, what: str, progress: Progress) -> Iterator[None]:
    with (shelf / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"another process is building the {what}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(target: Path, fill: Callable[[Path], dict[str, Any]]) -> None:
    work = Path(tempfile.mkdtemp(prefix=".building-", dir=target.parent))
    try:
        manifest = fill(work)
        (work / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        os.sync()
        shutil.rmtree(target, ignore_errors=True)
        work.chmod(0o755)
        work.rename(target)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def working_space() -> Path:
    """Where mmdebstrap works: on disk, since /tmp is memory on many machines."""
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
    Works as root, or without through user namespaces, as mmdebstrap decides.
    """
    # Under user namespaces "root" is another user, who may not look into our home: the files that
    # the hooks read lie in a directory that anybody may read, for as long as the build takes.
    with _public_directory() as public:
        copy = public / "files"
        shutil.copytree(files, copy)
        for path in [copy, *copy.rglob("*")]:
            path.chmod(0o755)
        tool(
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
            ),
            output_path=output,
            on_stderr_line=lambda line: _tell(line, progress),
            # INITRD=No: the lab host has an initrd of its own, so none is made at installation.
            env={
                "TMPDIR": str(public),
                "KVMLAB_FILES": str(copy),
                "INITRD": "No",
            },
        )


@contextmanager
def _public_directory() -> Iterator[Path]:
    """A working directory that anybody may look into; what killed builds left is removed first."""
    ours = f"kvmlab-build-{os.getuid()}-"
    for leftover in working_space().glob(f"{ours}*"):
        builder = leftover.name.removeprefix(ours).partition("-")[0]
        if not Path("/proc", builder).exists():
            _remove(leftover)
    public = Path(tempfile.mkdtemp(prefix=f"{ours}{os.getpid()}-", dir=working_space()))
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


def _tell(line: str, progress: Progress) -> None:
    # mmdebstrap's own steps, and the lines that our hooks mark as meant for people.
    for mark in ("I: ", "kvmlab: "):
        if line.startswith(mark):
            progress(line.removeprefix(mark))


def tool(
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
            (*_bound_to_us(), *argv),
            timeout_sec=BUILD_TIMEOUT_SEC,
            input_path=input_path,
            output_path=output_path,
            on_stderr_line=on_stderr_line,
            env=env,
        )
    except (CommandFailed, CommandTimeout) as error:
        raise _build_failed(name, error) from error


def _bound_to_us() -> tuple[str, ...]:
    """What makes a tool end with this process, however it ends, and leave no mount behind."""
    # Root's mmdebstrap mounts /proc and others in its new root: in a mount namespace of its own
    # they go with it.
    mounts = ("unshare", "--mount", "--") if os.geteuid() == 0 else ()
    bound = Path(__file__).with_name("bound.py")
    return (sys.executable, "-I", str(bound), str(os.getpid()), *mounts)


def _build_failed(name: str, error: CommandFailed | CommandTimeout) -> ImageBuildFailed:
    text = error.evidence
    todo = "Its own last words follow; mend the cause and run `kvmlab host build` again."
    if "No space left" in text or "Write failed" in text:
        todo = "The disk is full: free some space, or set TMPDIR and XDG_CACHE_HOME."
    elif any(sign in text for sign in NO_NETWORK_SIGNS):
        todo = "The Debian mirror was not reached: check the network (or http_proxy) and try again."
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
