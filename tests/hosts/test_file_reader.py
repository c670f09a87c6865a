"""Reading many files in one round trip, on real files."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvmlab.errors import CommandFailed
from kvmlab.hosts import LocalRunner, links, read_text, read_tree, run_script

RUNNER = LocalRunner()


def test_read_text(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one\ntwo\n")
    assert read_text(RUNNER, str(tmp_path / "a")) == "one\ntwo\n"
    assert read_text(RUNNER, str(tmp_path / "b")) is None


def test_read_tree_of_files_and_patterns(tmp_path: Path) -> None:
    (tmp_path / "0000:0b:00.0").write_text("0x8086\n")
    (tmp_path / "with space").write_text("a: b\n\nc\n")
    (tmp_path / "empty").touch()
    (tmp_path / "directory").mkdir()
    (tmp_path / "bytes").write_bytes(b"\xff\0x\n")
    tree = read_tree(RUNNER, f"{tmp_path}/0*", f"{tmp_path}/with space", f"{tmp_path}/[bde]*")
    assert tree == {
        f"{tmp_path}/0000:0b:00.0": "0x8086",
        f"{tmp_path}/with space": "a: b\n\nc",
        f"{tmp_path}/bytes": "\ufffd\0x",
    }


def test_read_tree_of_nothing(tmp_path: Path) -> None:
    assert read_tree(RUNNER, f"{tmp_path}/none*") == {}


def test_links(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "driver").symlink_to("../../drivers/igb")
    assert links(RUNNER, f"{tmp_path}/*") == {f"{tmp_path}/driver": "../../drivers/igb"}
    assert links(RUNNER, f"{tmp_path}/none*") == {}


def test_run_script_passes_arguments(tmp_path: Path) -> None:
    done = run_script(
        RUNNER, "kvmlab.hosts", "read_tree.sh", "/proc/sys/kernel/ostype", timeout_sec=5
    )
    assert done.stdout == "==> /proc/sys/kernel/ostype <==\nLinux\n"
    with pytest.raises(CommandFailed):
        run_script(RUNNER, "kvmlab.hosts", "read_tree.sh", f"{tmp_path}/none", timeout_sec=5)
