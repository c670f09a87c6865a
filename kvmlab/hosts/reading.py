"""Reading many files of a host in one round trip.

A round trip to an emulated host costs a few tenths of a second, so files are read in batches.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from kvmlab.errors import CommandFailed, OutputError
from kvmlab.hosts.runner import Runner
from kvmlab.process import Completed

_TIMEOUT_SEC: Final = 20.0
_SCRIPTS: Final = "kvmlab.hosts"


def run_script(
    runner: Runner,
    package: str,
    script: str,
    *args: str,
    timeout_sec: float,
    check: bool = True,
    root: bool = False,
) -> Completed:
    """Run ``scripts/<script>`` that ships with ``package`` on the host, with ``args``.

    The script travels over standard input to ``sh -s``, so nothing is installed there and no
    shell text is put together here.

    Raises:
        CommandFailed, CommandTimeout, HostRefused, HostUnreachable: see ``Runner.run``.
    """
    text = files(package).joinpath("scripts", script).read_text(encoding="utf-8")
    return runner.run(
        ("sh", "-s", "--", *args),
        timeout_sec=timeout_sec,
        input_text=text,
        check=check,
        root=root,
    )


def read_text(
    runner: Runner, path: str, *, root: bool = False, timeout_sec: float = _TIMEOUT_SEC
) -> str | None:
    """The text of one file on the host, or None where it is not there or cannot be read."""
    completed = runner.run(("cat", "--", path), timeout_sec=timeout_sec, check=False, root=root)
    return completed.stdout if completed.returncode == 0 else None


def read_tree(
    runner: Runner, *patterns: str, root: bool = False, timeout_sec: float = _TIMEOUT_SEC
) -> dict[str, str]:
    """The texts of all readable files that match the shell ``patterns``, by path, in one go.

    Files that are empty or cannot be read are left out; a last newline is left out.

    >>> read_tree(LocalRunner(), "/proc/sys/kernel/ostype", "/proc/sys/kernel/no-such-*")
    {'/proc/sys/kernel/ostype': 'Linux'}

    Raises:
        OutputError: what came back is not what ``grep -Z`` prints.
    """
    completed = run_script(
        runner, _SCRIPTS, "read_tree.sh", *patterns, timeout_sec=timeout_sec, check=False, root=root
    )
    # grep ends with 1 where it found nothing and with 2 where it could not read one of many.
    if completed.returncode not in (0, 1, 2):
        raise CommandFailed(completed)
    return parse_tree(completed.stdout)


def links(
    runner: Runner, *patterns: str, root: bool = False, timeout_sec: float = _TIMEOUT_SEC
) -> dict[str, str]:
    """Where the symbolic links that match the shell ``patterns`` point to, by path, in one go."""
    completed = run_script(
        runner, _SCRIPTS, "links.sh", *patterns, timeout_sec=timeout_sec, check=False, root=root
    )
    if completed.returncode not in (0, 1):
        raise CommandFailed(completed)
    return parse_links(completed.stdout)


def parse_tree(text: str) -> dict[str, str]:
    r"""Files by path, from what ``grep -sHZ ''`` printed.

    Each line has its path and a NUL byte before it::

        /sys/class/net/eth0/mtu\01500
        /sys/class/net/eth0/speed\01000

    Raises:
        OutputError: a line has no path.
    """
    found: dict[str, list[str]] = {}
    for line in text.split("\n"):
        if not line:
            continue
        path, separator, content = line.partition("\0")
        if not separator or not path:
            raise OutputError("A list of files could not be understood.", evidence=line[:400])
        found.setdefault(path, []).append(content)
    return {path: "\n".join(lines) for path, lines in found.items()}


def parse_links(text: str) -> dict[str, str]:
    r"""Links by path, from what ``find -printf`` printed: path, NUL byte, where it points to.

    ::

        /sys/class/net/eth0/device\0../../../0000:0b:00.0

    Raises:
        OutputError: a line has no path or no goal.
    """
    found = {}
    for line in text.split("\n"):
        if not line:
            continue
        path, separator, goal = line.partition("\0")
        if not separator or not path or not goal:
            raise OutputError("A list of links could not be understood.", evidence=line[:400])
        found[path] = goal
    return found
