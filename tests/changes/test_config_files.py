"""Configuration files: all or none are written, and only unchanged ones are removed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvmlab.changes import ConfigFile, install, leftovers, restore, uninstall
from kvmlab.errors import CommandFailed, StepFailed
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


def test_written_and_removed(host: Host, files: tuple[ConfigFile, ConfigFile]) -> None:
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
    with pytest.raises(CommandFailed, match="ended with exit code"):
        install(host, files[0], impossible)
    assert not Path(files[0].path).exists()


INSTALL = """
import sys
from kvmlab.changes import ConfigFile, install
from tests.changes.plain_host import PlainRunner, plain_host
number, first, second = sys.argv[1:]
install(
    plain_host(PlainRunner(die_at=int(number), after=True)),
    ConfigFile(first, "options igb max_vfs=7\\n", "at boot"),
    ConfigFile(second, "[sriov]\\ntotal-vfs=7\\n", "at boot", "0600"),
)
"""


@pytest.mark.parametrize("number", range(5))
def test_what_a_death_leaves_is_known_to_restore(
    host: Host, files: tuple[ConfigFile, ConfigFile], number: int, repository: Path
) -> None:
    paths = [Path(file.path) for file in files]
    argv = (sys.executable, "-c", INSTALL, str(number), *map(str, paths))
    done = subprocess.run(argv, cwd=repository, capture_output=True, text=True, check=False)
    there = [path.exists() for path in paths]
    left = leftovers(host)
    # Read, write, write, read back.
    assert done.returncode == (-9 if number < 4 else 0), done.stderr
    assert bool(left) == (0 < number < 4)
    assert there == ([number > 0, number > 1])
    restore(host)
    assert [path.exists() for path in paths] == [number == 4] * 2, "all or none"
    assert not list(paths[1].parent.rglob("*.kvmlab-part"))


def test_a_full_disk_leaves_nothing(host: Host, files: tuple[ConfigFile, ConfigFile]) -> None:
    """The second file does not fit: the shell that writes it may not make it that long."""

    class FullRunner(PlainRunner):
        def run(self, argv, **options):  # type: ignore[no-untyped-def]
            if files[1].path in argv and "write_file.sh" in argv:
                argv = ("sh", "-c", 'ulimit -f 0; exec "$@"', "full", *argv)
            return super().run(argv, **options)

    host.runner = FullRunner()
    with pytest.raises(CommandFailed):
        install(host, *files)
    folder = Path(files[1].path).parent
    assert not [p for p in folder.rglob("*") if p.is_file() and "state" not in p.parts]
    assert leftovers(host) == ()
