"""Reading the settings of steps, all of them in one round trip to the host."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from kvmlab.errors import OutputError
from kvmlab.hosts import Runner, parse_files, parse_output, run_script

#: Settings of a host by path, None for a missing one.
Values = dict[str, str | None]

_OF_ROOT: Final = ("state,", "chain:", "record:")


def read_settings(runner: Runner, paths: Iterable[str]) -> Values:
    """Read each path on the host; None for a missing one.

    Raises:
        OutputError: the host's answer could not be understood.
    """
    distinct = tuple(dict.fromkeys(paths))
    if not distinct:
        return {}
    done = run_script(
        runner,
        "kvmlab.changes",
        "read_settings.sh",
        *distinct,
        timeout_sec=30,
        # Another namespace, a firewall, filter rules, rings and records of tracepoints can only be
        # looked into by root.
        root=any("@" in path or path.startswith(_OF_ROOT) for path in distinct),
    )
    return parse_settings(done.stdout, distinct)


def parse_settings(text: str, paths: tuple[str, ...]) -> Values:
    """Return the text of each of ``paths``, None for what is missing.

    The script prints those that are there::

        === settings
        ==> /sys/bus/pci/devices/0000:0b:00.0/driver <==
        vfio-pci
        === end

    Raises:
        OutputError: it was cut off, or holds other paths.
    """
    texts = parse_files(parse_output(text).text("settings"))
    others = texts.keys() - set(paths)
    if others:
        raise OutputError(
            f"Settings of the host were read and not asked for: {', '.join(sorted(others))}.",
            evidence=text[:2000],
        )
    return {path: texts.get(path) for path in paths}
