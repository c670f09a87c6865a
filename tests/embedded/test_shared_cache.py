"""A cache for all users of a machine: found, and trusted only where nobody else may write it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kvmlab import embedded
from kvmlab.embedded import image_recipe
from kvmlab.embedded.shared_cache import VARIABLE, find_shared, share
from kvmlab.errors import UsageError


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a shared cache with an image of the current recipe; this user's own is empty."""
    build = tmp_path / "mine" / "images" / image_recipe.recipe_hash()
    (build / "qemu").mkdir(parents=True)
    (build / "rootfs.sqfs").write_bytes(b"root")
    (build / "rootfs.sqfs").chmod(0o600)
    manifest = {"recipe": build.name, "kernel": "6.12", "packages": {"iperf3": "3.18"}}
    (build / "manifest.json").write_text(json.dumps(manifest))
    directory = tmp_path / "shared"
    monkeypatch.setenv(VARIABLE, str(directory))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    assert embedded.find_image() is None
    share(directory, (build,), lambda line: None)
    return directory


def test_everybody_finds_the_image_and_may_only_read_it(shared: Path) -> None:
    image = embedded.find_image()
    assert image is not None
    assert image.path == shared / "images" / image_recipe.recipe_hash()
    assert image.rootfs.stat().st_mode & 0o777 == 0o644
    assert embedded.build_image() == image, "nothing is built"


def test_ones_own_build_goes_first(shared: Path, tmp_path: Path) -> None:
    own = tmp_path / "own" / "kvmlab" / "images" / image_recipe.recipe_hash()
    own.mkdir()
    manifest = {"recipe": own.name, "kernel": "6.13", "packages": {}}
    (own / "manifest.json").write_text(json.dumps(manifest))
    image = embedded.find_image()
    assert image is not None
    assert image.kernel == "6.13"


def test_a_file_that_changed_is_noticed_also_later(shared: Path) -> None:
    image = embedded.find_image()
    assert image is not None
    image.rootfs.write_bytes(b"roof")
    with pytest.raises(UsageError, match="is damaged"):
        embedded.find_image()


@pytest.mark.parametrize("place", ["", "images", "images/{name}", "images/{name}/rootfs.sqfs"])
def test_a_place_that_others_may_write_is_refused(shared: Path, place: str) -> None:
    path = shared / place.format(name=image_recipe.recipe_hash())
    path.chmod(path.stat().st_mode | 0o020)
    with pytest.raises(UsageError, match="others could put programs there"):
        embedded.find_image()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_build_of_another_user_is_refused(shared: Path) -> None:
    os.chown(shared / "images" / image_recipe.recipe_hash(), 12345, 12345)
    with pytest.raises(UsageError, match="belongs to user 12345"):
        embedded.find_image()


def test_a_build_without_seals_or_manifest_is_none(shared: Path) -> None:
    assert find_shared("images", "another") is None
    (shared / "images" / f"{image_recipe.recipe_hash()}.seals.json").unlink()
    assert embedded.find_image() is None


def test_a_directory_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "images" / "a").mkdir(parents=True)
    with pytest.raises(UsageError, match="cannot be written"):
        share(tmp_path / "file", (tmp_path / "images" / "a",), lambda line: None)
