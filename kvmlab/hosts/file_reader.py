"""Readers of many files of a host in one round trip.

A round trip to an emulated host costs a few tenths of a second, so files are read in batches.
"""

from __future__ import annotations

from typing import Final

from kvmlab.errors import CommandFailed
from kvmlab.hosts.runner import Runner
from kvmlab.hosts.script_output import parse_files
from kvmlab.hosts.shipped_script import run_script

_TIMEOUT_SEC: Final = 20.0
_SCRIPTS: Final = "kvmlab.hosts"


def read_text(
    runner: Runner, path: str, *, root: bool = False, timeout_sec: float = _TIMEOUT_SEC
) -> str | None:
    """Return the text of one file on the host, None where it is missing or cannot be read."""
    completed = runner.run(("cat", "--", path), timeout_sec=timeout_sec, check=False, root=root)
    return completed.stdout if completed.returncode == 0 else None


def read_tree(
    runner: Runner, *patterns: str, root: bool = False, timeout_sec: float = _TIMEOUT_SEC
) -> dict[str, str]:
    """Return the texts of all files that match the shell ``patterns``, by path, in one go.

    Files that are empty or cannot be read are left out, and so are newlines at the end of a text.

    >>> read_tree(LocalRunner(), "/proc/sys/kernel/ostype", "/proc/sys/kernel/no-such-*")
    {'/proc/sys/kernel/ostype': 'Linux'}

    Raises:
        CommandFailed: the files could not be listed.
        OutputError: see :func:`kvmlab.hosts.parse_files`.
    """
    completed = run_script(
        runner, _SCRIPTS, "read_tree.sh", *patterns, timeout_sec=timeout_sec, check=False, root=root
    )
    # tail ends with 1 where it could not read one of many.
    if completed.returncode not in (0, 1):
        raise CommandFailed(completed)
    return {path: text for path, text in parse_files(completed.stdout).items() if text}


def links(
    runner: Runner, *patterns: str, root: bool = False, timeout_sec: float = _TIMEOUT_SEC
) -> dict[str, str]:
    """Return the goals of all symbolic links that match the shell ``patterns``, by path.

    Raises:
        CommandFailed, OutputError: as `read_tree`.
    """
    completed = run_script(
        runner,
        _SCRIPTS,
        "read_links.sh",
        *patterns,
        timeout_sec=timeout_sec,
        check=False,
        root=root,
    )
    if completed.returncode not in (0, 1):
        raise CommandFailed(completed)
    return parse_files(completed.stdout)
