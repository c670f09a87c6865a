"""Bundles: packed, unpacked into a cache, and refused with a sentence where they are not whole."""

from __future__ import annotations

import gzip
import io
import json
import os
import platform
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kvmlab.bundle_archive import WHEELS, BundleError, install, pack, seals_of, verify

Change = Callable[[tarfile.TarInfo, bytes], tuple[tarfile.TarInfo, bytes] | None]

LOCK = "0" * 64
HERE = {
    "python": ".".join(platform.python_version_tuple()[:2]),
    "machine": platform.machine(),
    "lock": LOCK,
}


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Return the folders of a small bundle, with all kinds of files that a real one has."""
    parts = {
        "wheels": tmp_path / "wheels",
        "cache/emulators/e1": tmp_path / "emulators" / "e1",
        "cache/states/s1": tmp_path / "states" / "s1",
    }
    for folder in parts.values():
        folder.mkdir(parents=True)
    (parts["wheels"] / "requirements.lock").write_text("rich==14.0\n")
    qemu = parts["cache/emulators/e1"] / "qemu"
    qemu.mkdir()
    (qemu / "program").write_bytes(b"\x7fELF")
    (qemu / "program").chmod(0o755)
    (qemu / "lib.so").symlink_to("program")
    with (parts["cache/states/s1"] / "ram").open("wb") as ram:
        ram.seek(5 * 2**20)
        ram.write(b"one page")
        ram.truncate(64 * 2**20)
    (parts["cache/states/s1"] / "id_ed25519").write_text("secret")
    return parts


@pytest.fixture
def bundle(tmp_path: Path, folders: dict[str, Path]) -> Path:
    pack(tmp_path / "b.kvmlab", folders, HERE)
    return tmp_path / "b.kvmlab"


def test_all_comes_back_as_it_was(bundle: Path, folders: dict[str, Path], tmp_path: Path) -> None:
    assert bundle.stat().st_mode & 0o777 == 0o600, "it holds keys"
    cache = tmp_path / "cache"
    wheels = install(bundle, cache, lock_sha256=LOCK)
    assert wheels == cache / WHEELS
    for name in ("emulators/e1", "states/s1"):
        assert seals_of(cache / name) == seals_of(folders[f"cache/{name}"])
    assert (cache / "emulators/e1/qemu/lib.so").readlink() == Path("program")
    assert os.access(cache / "emulators/e1/qemu/program", os.X_OK)
    ram = (cache / "states/s1/ram").stat()
    assert (ram.st_size, ram.st_blocks * 512 <= 4 * 2**20) == (64 * 2**20, True), "holes stay holes"
    assert (cache / "states/s1/id_ed25519").stat().st_mode & 0o777 == 0o600
    assert not [*cache.glob(".bundle-*")]


def test_a_whole_bundle_is_read_and_nothing_is_written(bundle: Path, tmp_path: Path) -> None:
    before = seals_of(tmp_path)
    files = verify(bundle, lock_sha256=LOCK)["files"]
    assert "cache/states/s1/ram" in files
    assert seals_of(tmp_path) == before
    assert verify(bundle, lock_sha256="")["files"] == files


def test_what_the_cache_has_already_stays(bundle: Path, tmp_path: Path) -> None:
    own = tmp_path / "cache" / "states" / "s1"
    own.mkdir(parents=True)
    (own / "ram").write_text("mine")
    install(bundle, tmp_path / "cache", lock_sha256=LOCK)
    assert (own / "ram").read_text() == "mine"


def repacked(
    bundle: Path,
    change: Change,
    extra: tuple[tarfile.TarInfo, bytes] | None = None,
) -> Path:
    """Write the bundle anew with every member changed by ``change``, or left out."""
    copy = bundle.with_name("changed.kvmlab")
    with tarfile.open(bundle) as old, tarfile.open(copy, "w:gz") as new:
        members = []
        for member in old:
            content = old.extractfile(member) if member.isreg() else None
            members.append((member, content.read() if content is not None else b""))
        changed = [kept for pair in members if (kept := change(*pair)) is not None]
        for member, data in [*changed, *([extra] if extra else [])]:
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    return copy


def described(**changes: object) -> Change:
    def change(member: tarfile.TarInfo, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
        if member.name == "bundle.json":
            data = json.dumps({**json.loads(data), **changes}).encode()
        return member, data

    return change


def same(member: tarfile.TarInfo, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
    return member, data


def one_byte_flipped(member: tarfile.TarInfo, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
    is_program = member.name.endswith("program")
    return member, b"\x7fELG" if is_program else data


def without_the_program(
    member: tarfile.TarInfo, data: bytes
) -> tuple[tarfile.TarInfo, bytes] | None:
    return None if member.name.endswith("program") else (member, data)


def link_to_elsewhere(member: tarfile.TarInfo, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
    if member.issym():
        member.linkname = "/etc/passwd"
    return member, data


@pytest.mark.parametrize(
    ("change", "extra", "sentence"),
    [
        (
            one_byte_flipped,
            None,
            "emulators/e1/qemu/program' is not the one that was packed",
        ),
        (without_the_program, None, "1 of its files are missing"),
        (link_to_elsewhere, None, "leads elsewhere than it should"),
        (same, (tarfile.TarInfo("../../escaped"), b"x"), "which its list does not name"),
        (described(lock="1" * 64), None, "another revision of kvmlab"),
        (described(python="3.9"), None, "it is for python 3.9, and here is python"),
        (described(machine="aarch64"), None, "it is for machine aarch64"),
        (described(format=2), None, "it is for format 2"),
    ],
)
def test_a_bundle_that_is_not_what_it_should_be_is_refused(
    bundle: Path,
    tmp_path: Path,
    change: Change,
    extra: tuple[tarfile.TarInfo, bytes] | None,
    sentence: str,
) -> None:
    cache = tmp_path / "cache"
    copy = repacked(bundle, change, extra)
    with pytest.raises(BundleError, match=sentence):
        verify(copy, lock_sha256=LOCK)
    with pytest.raises(BundleError, match=sentence):
        install(copy, cache, lock_sha256=LOCK)
    assert [*cache.iterdir()] == [], "nothing of it is used"
    assert not (tmp_path / "escaped").exists()


def test_names_that_lead_out_are_refused_also_where_the_list_has_them(
    bundle: Path, tmp_path: Path
) -> None:
    def named(member: tarfile.TarInfo, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
        if member.name == "bundle.json":
            document = json.loads(data)
            document["files"]["../../escaped"] = {"size": 1, "sha256": "0"}
            data = json.dumps(document).encode()
        return member, data

    copy = repacked(bundle, named, (tarfile.TarInfo("../../escaped"), b"x"))
    with pytest.raises(BundleError, match="leads out of it"):
        verify(copy, lock_sha256=LOCK)
    with pytest.raises(BundleError, match="leads out of it"):
        install(copy, tmp_path / "cache", lock_sha256=LOCK)
    assert not (tmp_path.parent / "escaped").exists()


@pytest.mark.parametrize("part", [0, 10, 2000])
def test_a_file_that_was_cut_is_one_sentence_on_the_command_line(
    bundle: Path, tmp_path: Path, repository: Path, part: int
) -> None:
    cut = tmp_path / "cut.kvmlab"
    cut.write_bytes(bundle.read_bytes()[:part])
    done = command(repository, cut, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{cut} cannot be used: it")
    assert done.stderr.count("\n") == 1, done.stderr


def test_another_archive_is_no_bundle(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"hello"))
    assert "cannot be" in command(repository, tmp_path / "x.gz", tmp_path).stderr
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        archive.add(repository / "LICENSE", "LICENSE")
    done = command(repository, tmp_path / "x.tar.gz", tmp_path)
    assert done.stderr.endswith("it is no bundle of kvmlab.\n")


def command(repository: Path, bundle: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the module as ./lab does: by Python alone, without kvmlab's environment."""
    module = repository / "kvmlab" / "bundle_archive.py"
    argv = [sys.executable, "-I", "-S", str(module), str(bundle)]
    argv += ["--lock", str(repository / "requirements.lock"), "--cache", str(folder / "cache")]
    return subprocess.run(argv, capture_output=True, text=True, check=False)
