"""Reading the settings of steps, all of them in one round trip to the host."""

from __future__ import annotations

from collections.abc import Iterable

from kvmlab.errors import OutputError
from kvmlab.hosts import Runner, run_script


def read_settings(runner: Runner, paths: Iterable[str]) -> dict[str, str | None]:
    """What each path reads on the host, None for what is missing.

    Raises:
        OutputError: the host answered something else than one line a path.
    """
    wanted = tuple(dict.fromkeys(paths))
    if not wanted:
        return {}
    done = run_script(
        runner,
        "kvmlab.changes",
        "read_settings.sh",
        *wanted,
        timeout_sec=30,
        # Another namespace can only be looked into by root.
        root=any("@" in path for path in wanted),
    )
    return parse_settings(done.stdout, wanted)


def parse_settings(text: str, paths: tuple[str, ...]) -> dict[str, str | None]:
    """Read what ``read_settings.sh`` prints, one line a path.

    Its output::

        = kvmlab0
        -
        = up

    Raises:
        OutputError: another number of lines, or a line of another shape.
    """
    lines = text.splitlines()
    shaped = all(line == "-" or line.startswith("= ") for line in lines)
    if len(lines) != len(paths) or not shaped:
        raise OutputError(
            f"{len(paths)} settings of the host were asked for, and what came back is not one "
            "line for each.",
            evidence=text[:2000],
        )
    return {
        path: None if line == "-" else line[2:] for path, line in zip(paths, lines, strict=True)
    }
