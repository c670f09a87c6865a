"""Image and emulator are checked before each use."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kvmlab import directories, embedded
from kvmlab.cli import answer
from kvmlab.embedded import build_seals, image_recipe, saved_state
from kvmlab.embedded.build_seals import read_seals
from kvmlab.embedded.package_builder import build_once
from kvmlab.embedded.saved_state import Facts
from kvmlab.embedded.shared_cache import VARIABLE
from kvmlab.errors import UsageError


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an image as `kvmlab host build` leaves it, but small."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nothing"))
    shelf = tmp_path / "kvmlab" / "images"
    shelf.mkdir(parents=True)
    name = image_recipe.recipe_hash()

    def fill(work: Path) -> dict[str, object]:
        for part in ("rootfs.sqfs", "vmlinuz", "initrd", "qemu/usr/bin/qemu-system-x86_64"):
            (work / part).parent.mkdir(parents=True, exist_ok=True)
            (work / part).write_bytes(part.encode())
        return {"recipe": name, "kernel": "6.12", "packages": {"iperf3": "3.18"}}

    options = {"what": "image", "needed_mib": 0, "progress": lambda line: None}
    return build_once(shelf, name, fill, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["rootfs.sqfs", "vmlinuz", "initrd", "qemu/usr/bin/qemu-system-x86_64", "manifest.json"]
)
def test_a_file_that_is_not_what_was_built_is_not_used(build: Path, name: str) -> None:
    assert embedded.find_image() is not None
    raw = (build / name).read_bytes()
    (build / name).write_bytes(raw[:-2] + b" " + raw[-1:])
    with pytest.raises(UsageError, match=f"is damaged: {name} is not what was built"):
        embedded.find_image()
    (build / name).write_bytes(raw)
    assert embedded.find_image() is not None


def test_a_flipped_bit_that_leaves_the_time_is_found_by_verify(
    build: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert embedded.find_image() is not None
    assert answer(["host", "verify", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert one["packages"] == {"iperf3": "3.18"}
    assert one["seals"]["vmlinuz"]["size"] == len("vmlinuz")
    kernel = build / "vmlinuz"
    status = kernel.stat()
    kernel.write_bytes(b"vmlinuy")
    os.utime(kernel, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert answer(["host", "verify"]) == 2
    assert "vmlinuz is not what was built" in capsys.readouterr().err


def test_saved_states_are_verified_too(
    build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = Facts(image=build.name, qemu="q", accel="tcg", cpu="", machine="m", preparation="p")
    with saved_state.writing(directories.states_dir(), facts) as work:
        (work / "ram").write_bytes(b"memory" * 1000)
        (work / "device.state").write_bytes(b"devices")
    assert answer(["host", "verify"]) == 0
    assert f"saved state {facts.key} (of 20" in capsys.readouterr().out
    memory = directories.states_dir() / facts.key / "ram"
    status = memory.stat()
    memory.write_bytes(b"Memory" + b"memory" * 999)
    os.utime(memory, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert answer(["host", "verify"]) == 2
    message = capsys.readouterr().err
    assert f"The saved state {facts.key} is damaged: its file ram has changed." in message
    assert f"rm -r {memory.parent}" in message


def test_what_did_not_change_is_not_read_again(
    build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert embedded.find_image() is not None
    monkeypatch.setattr(build_seals, "seals_of", lambda folder: pytest.fail("it was read"))
    assert embedded.find_image() is not None


def test_more_and_missing_files_are_named(build: Path) -> None:
    (build / "initrd").unlink()
    (build / "more").write_text("more")
    with pytest.raises(UsageError, match="initrd, more are not what was built"):
        embedded.find_image()


def test_a_build_of_an_older_version_is_sealed_at_its_first_use(build: Path) -> None:
    build_seals.seals_path(build).unlink()
    assert embedded.find_image() is not None
    assert "rootfs.sqfs" in read_seals(build)


@pytest.mark.parametrize("text", ["{}", "[]", "{", "null", '{"recipe": "other"}'])
def test_an_odd_manifest_is_no_build(build: Path, text: str) -> None:
    (build / "manifest.json").write_text(text)
    assert embedded.find_image() is None
