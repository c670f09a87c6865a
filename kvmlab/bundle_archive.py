"""A bundle: an archive of files with their hashes, for machines without a network.

This module needs nothing but Python's own library, since ``./lab --bundle`` runs it before there is
an environment::

    python3 -I kvmlab/bundle_archive.py FILE --lock requirements.lock --cache ~/.cache/kvmlab

The first member of the archive, ``bundle.json``, describes it: the Python and the lock that its
wheels are for, and of each file its size and hash, or where a link leads. The others are
``wheels/…`` and ``cache/images|emulators|states/NAME/…``.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import platform
import shutil
import stat
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

DESCRIPTION: Final = "bundle.json"
FORMAT: Final = 1
KINDS: Final = ("images", "emulators", "states")
WHEELS: Final = "bundle-wheels"
_CHUNK: Final = 2**20
_MOST_DESCRIPTION: Final = 64 * 2**20

Seal = dict[str, Any]


class BundleError(ValueError):
    """A bundle that cannot be used; the text is a sentence for its user."""


def seals_of(folder: Path) -> dict[str, Seal]:
    """Return the seal of every file and link below ``folder``, by its path from there.

    A seal is ``{"size": bytes, "sha256": hex}``, with ``"executable": True`` where it is, or
    ``{"link": target}``.
    """
    seals: dict[str, Seal] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            seals[name] = {"link": str(path.readlink())}
        elif path.is_file():
            with path.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
            seals[name] = {"size": path.stat().st_size, "sha256": digest}
            if path.stat().st_mode & stat.S_IXUSR:
                seals[name]["executable"] = True
    return seals


def pack(target: Path, folders: Mapping[str, Path], description: Mapping[str, Any]) -> None:
    """Write the bundle ``target`` with the ``folders``, by their names in it, in one step.

    Only its owner may read it: a saved state holds the keys of its host.

    Raises:
        OSError: it cannot be written.
    """
    files = {
        f"{name}/{path}": seal
        for name, folder in folders.items()
        for path, seal in seals_of(folder).items()
    }
    text = json.dumps({"format": FORMAT, **description, "files": files}, indent=1).encode()
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with (
            os.fdopen(descriptor, "wb") as file,
            tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as archive,
        ):
            head = tarfile.TarInfo(DESCRIPTION)
            head.size = len(text)
            archive.addfile(head, io.BytesIO(text))
            for name, folder in folders.items():
                for path in seals_of_names(folder):
                    archive.add(folder / path, arcname=f"{name}/{path}", recursive=False)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def seals_of_names(folder: Path) -> Iterator[str]:
    """Yield the paths of the files and links below ``folder``, from there."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or path.is_file():
            yield path.relative_to(folder).as_posix()


def unpack(bundle: Path, folder: Path, *, lock_sha256: str) -> dict[str, Any]:
    """Write the files of a bundle into the empty ``folder`` and return its description.

    Each file is hashed as it is written; nothing leaves the folder.

    Raises:
        BundleError: it is damaged, of another format, or for another Python or lock.
    """

    def write(archive: tarfile.TarFile, member: tarfile.TarInfo, seal: Seal) -> None:
        _write(archive, member, folder, seal)

    return _walk(bundle, lock_sha256, write)


def verify(bundle: Path, *, lock_sha256: str) -> dict[str, Any]:
    """Compare each file of a bundle with its hash, write nothing, and return its description.

    An empty ``lock_sha256`` takes a bundle for any lock.

    Raises:
        BundleError: as `unpack`.
    """
    return _walk(bundle, lock_sha256, _verify)


def _walk(
    bundle: Path,
    lock_sha256: str,
    handle: Callable[[tarfile.TarFile, tarfile.TarInfo, Seal], None],
) -> dict[str, Any]:
    """Pass each member with its seal to ``handle``, and see that none is missing or too many."""
    try:
        with tarfile.open(bundle, mode="r:gz") as archive:
            members = iter(archive)
            description = _description(next(members, None), archive, lock_sha256)
            missing = dict(description["files"])
            for member in members:
                if member.name not in missing:
                    raise BundleError(f"it holds {member.name!r}, which its list does not name")
                handle(archive, member, missing.pop(member.name))
    except (tarfile.TarError, OSError, EOFError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"it cannot be unpacked: {error}") from error
    if missing:
        raise BundleError(f"{len(missing)} of its files are missing, {min(missing)!r} among them")
    return description


def _description(
    member: tarfile.TarInfo | None, archive: tarfile.TarFile, lock_sha256: str
) -> dict[str, Any]:
    if member is None or member.name != DESCRIPTION or member.size > _MOST_DESCRIPTION:
        raise BundleError("it is no bundle of kvmlab")
    content = archive.extractfile(member)
    assert content is not None
    try:
        description: dict[str, Any] = json.loads(content.read())
    except ValueError as error:
        raise BundleError(f"its description cannot be read: {error}") from error
    here = {
        "format": FORMAT,
        "python": ".".join(platform.python_version_tuple()[:2]),
        "machine": platform.machine(),
        "lock": lock_sha256 or description.get("lock"),
    }
    there = {name: description.get(name) for name in here}
    if there["lock"] != here["lock"] and there["format"] == FORMAT:
        raise BundleError("it was made by another revision of kvmlab: its packages are others")
    for name in here:
        if here[name] != there[name]:
            raise BundleError(f"it is for {name} {there[name]}, and here is {name} {here[name]}")
    return description


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, seal: Seal) -> None:
    """Write one member below ``folder``, and raise unless it is what its seal says."""
    target = folder / member.name
    inside = folder.resolve()
    if not Path(os.path.normpath(inside / member.name)).is_relative_to(inside):
        raise BundleError(f"it holds {member.name!r}, which leads out of it")
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.parent.resolve().is_relative_to(inside):
        raise BundleError(f"it holds {member.name!r}, which leads out of it")
    if member.issym():
        leads_to = Path(os.path.normpath(inside / Path(member.name).parent / member.linkname))
        if member.linkname != seal.get("link") or not leads_to.is_relative_to(inside):
            raise BundleError(f"its link {member.name!r} leads elsewhere than it should")
        target.symlink_to(member.linkname)
        return
    content = _content(archive, member, seal)
    digest = _copy(content, target)
    if digest != seal["sha256"] or target.stat().st_size != seal["size"]:
        raise _changed(member)
    if member.name.startswith("cache/states/"):
        target.chmod(0o600)
    else:
        target.chmod(0o755 if seal.get("executable") else 0o644)


def _verify(archive: tarfile.TarFile, member: tarfile.TarInfo, seal: Seal) -> None:
    """Raise unless a member is what its seal says and stays inside."""
    inside = Path("/bundle")
    if not Path(os.path.normpath(inside / member.name)).is_relative_to(inside):
        raise BundleError(f"it holds {member.name!r}, which leads out of it")
    if member.issym():
        leads_to = Path(os.path.normpath(inside / Path(member.name).parent / member.linkname))
        if member.linkname != seal.get("link") or not leads_to.is_relative_to(inside):
            raise BundleError(f"its link {member.name!r} leads elsewhere than it should")
        return
    digest, size = hashlib.sha256(), 0
    content = _content(archive, member, seal)
    while chunk := content.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
    if digest.hexdigest() != seal["sha256"] or size != seal["size"]:
        raise _changed(member)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, seal: Seal) -> IO[bytes]:
    # tarfile makes a second name of the same file a hard link.
    content = archive.extractfile(member) if member.isreg() or member.islnk() else None
    if content is None or "sha256" not in seal:
        raise BundleError(f"it holds {member.name!r}, which is no file")
    return content


def _changed(member: tarfile.TarInfo) -> BundleError:
    return BundleError(f"its file {member.name!r} is not the one that was packed")


def _copy(content: IO[bytes], target: Path) -> str:
    """Copy ``content`` with holes for zeros, as a saved memory needs; return its SHA-256."""
    digest = hashlib.sha256()
    zeros = bytes(_CHUNK)
    with target.open("xb") as file:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
            if chunk == zeros[: len(chunk)]:
                file.seek(len(chunk), os.SEEK_CUR)
            else:
                file.write(chunk)
        file.truncate()
    return digest.hexdigest()


def install(bundle: Path, cache: Path, *, lock_sha256: str) -> Path:
    """Unpack a bundle into the cache and return the folder of its wheels.

    A build that is in the cache already stays; one that is new appears complete or not at all.

    Raises:
        BundleError: as `unpack`.
        OSError: the cache cannot be written.
    """
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    for leftover in cache.glob(".bundle-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=".bundle-", dir=cache))
    try:
        unpack(bundle, work, lock_sha256=lock_sha256)
        for kind in KINDS:
            shelf = cache / kind
            shelf.mkdir(exist_ok=True, mode=0o700)
            for build in sorted((work / "cache" / kind).glob("*")):
                if not (shelf / build.name).exists():
                    build.rename(shelf / build.name)
        wheels = cache / WHEELS
        shutil.rmtree(wheels, ignore_errors=True)
        (work / "wheels").rename(wheels)
        return wheels
    finally:
        shutil.rmtree(work, ignore_errors=True)


def main() -> int:
    """Unpack the bundle that the command line names, and print the folder of its wheels."""
    parser = argparse.ArgumentParser(description="Unpack a bundle of kvmlab into the cache.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--lock", type=Path, required=True, help="requirements.lock of this clone")
    parser.add_argument("--cache", type=Path, required=True)
    options = parser.parse_args()
    lock_sha256 = hashlib.sha256(options.lock.read_bytes()).hexdigest()
    try:
        print(install(options.bundle, options.cache, lock_sha256=lock_sha256))
    except BundleError as error:
        print(f"{options.bundle} cannot be used: {error}.", file=sys.stderr)
        return 1
    except OSError as error:
        reason = error.strerror or error
        print(f"{options.bundle} cannot be unpacked to {options.cache}: {reason}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
