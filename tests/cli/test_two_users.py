"""Two unprivileged users of one machine: beside each other, and never in each other's folders."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kvmlab.embedded import image_recipe
from kvmlab.embedded.shared_cache import share
from tests.cli.two_users import ALICE, BOB, home_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two other users")


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    """Make a folder that everybody may enter, with a copy of the sources and a shared cache."""
    path = Path(tempfile.mkdtemp(prefix="kvmlab-users-", dir="/var/tmp"))
    path.chmod(0o755)
    repository = Path(__file__).resolve().parents[2]
    for part in ("kvmlab", "tests/cli", "tests/changes"):
        ignored = shutil.ignore_patterns("__pycache__", "labextensions")
        shutil.copytree(repository / part, path / "sources" / part, ignore=ignored)
    for place, folders, files in os.walk(path / "sources"):
        for name in (*folders, *files):
            Path(place, name).chmod(0o755)
    build = path / "built" / "images" / image_recipe.recipe_hash()
    build.mkdir(parents=True)
    (build / "rootfs.sqfs").write_bytes(b"root")
    manifest = {"recipe": build.name, "kernel": "6.12", "packages": {}}
    (build / "manifest.json").write_text(json.dumps(manifest))
    share(path / "shared", (build,), lambda line: None)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def seen(base: Path) -> dict[tuple[int, str], dict[str, Any]]:
    """Return what each user saw at each task."""
    done = subprocess.run(
        (sys.executable, "-m", "tests.cli.two_users", str(base), str(base / "shared")),
        cwd=base / "sources",
        env={**os.environ, "PYTHONPATH": str(base / "sources")},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    lines = map(json.loads, done.stdout.splitlines())
    return {(line["uid"], line["task"]): line for line in lines}


Seen = dict[tuple[int, str], dict[str, Any]]


def test_both_work_at_once(seen: Seen, base: Path) -> None:
    for uid in (ALICE, BOB):
        own = seen[uid, "work"]
        assert own["setting"] == ["1\n", "0\n"]
        assert own["image"] == str(base / "shared" / "images" / image_recipe.recipe_hash())
        assert own["connection"].startswith(str(home_of(base, uid)))
        assert own["status"] == [0, "No embedded host runs.\n"]


def test_what_one_writes_is_his_alone(seen: Seen, base: Path) -> None:
    assert seen
    for uid in (ALICE, BOB):
        for folder in ("state", "cache/kvmlab"):
            top = home_of(base, uid) / folder
            paths = [top, *top.rglob("*")]
            assert len(paths) > 2
            assert {path.stat().st_uid for path in paths} == {uid}
            modes = {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_dir()}
            assert modes == {0o700}
    assert {path.stat().st_uid for path in (base / "shared").rglob("*")} == {0}


def test_the_folders_of_the_other_are_refused_in_a_sentence(seen: Seen) -> None:
    refused = seen[BOB, "intrude"]
    assert "cannot be used: Permission denied" in refused["state"]
    assert "KVMLAB_STATE_HOME" in refused["state"]
    code, text = refused["cache"]
    assert code == 2
    assert "XDG_CACHE_HOME" in text
    assert "Traceback" not in text


def test_a_common_folder_is_of_whoever_comes_first(seen: Seen) -> None:
    first, second = seen[ALICE, "first"], seen[BOB, "second"]
    assert first == {**first, "state": "", "cache": [0, "No embedded host runs.\n"]}
    code, text = second["cache"]
    assert code == 2
    assert f"belongs to user {ALICE}" in text
    assert "KVMLAB_STATE_HOME" in second["state"]


def test_a_folder_in_tmp_that_another_user_took_is_not_used(seen: Seen) -> None:
    assert "No private directory for connections" in seen[BOB, "far"]["connection"]
    assert "XDG_RUNTIME_DIR" in seen[BOB, "far"]["connection"]
