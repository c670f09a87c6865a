"""Files that are there to stay: all or none, and taken away only as they were written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kvmlab.changes import ConfigFile, install, uninstall
from kvmlab.errors import StepFailed
from kvmlab.hosts import Host
from tests.changes.plain_host import PlainRunner, plain_host


@pytest.fixture
def host() -> Iterator[Host]:
    with plain_host(PlainRunner()) as opened:
        yield opened


@pytest.fixture
def files(tmp_path: Path) -> tuple[ConfigFile, ConfigFile]:
    return (
        ConfigFile(str(tmp_path / "new" / "a.conf"), "options igb max_vfs=7\n", "at boot"),
        ConfigFile(str(tmp_path / "b.nmconnection"), "[sriov]\ntotal-vfs=7\n", "at boot", "0600"),
    )


def test_written_and_taken_away(host: Host, files: tuple[ConfigFile, ConfigFile]) -> None:
    install(host, *files)
    for file in files:
        assert Path(file.path).read_text() == file.text
        assert file.text.startswith("# Written by kvmlab")
        assert file.body in str(file)
    assert Path(files[1].path).stat().st_mode & 0o777 == 0o600
    uninstall(host, *files)
    uninstall(host, *files)
    assert not any(Path(file.path).exists() for file in files)


def test_nothing_is_overwritten(host: Host, files: tuple[ConfigFile, ConfigFile]) -> None:
    Path(files[1].path).write_text("the administrator's\n")
    with pytest.raises(StepFailed, match=r"b\.nmconnection on a plain host: there already"):
        install(host, *files)
    assert not Path(files[0].path).exists()
    with pytest.raises(StepFailed, match="left alone"):
        uninstall(host, *files)
    assert Path(files[1].path).read_text() == "the administrator's\n"


def test_all_or_none(host: Host, files: tuple[ConfigFile, ConfigFile], tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file\n")
    impossible = ConfigFile(str(tmp_path / "blocked" / "x.conf"), "x\n", "never")
    with pytest.raises(Exception, match="install"):
        install(host, files[0], impossible)
    assert not Path(files[0].path).exists()
