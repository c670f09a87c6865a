"""Apply a change, and die: ``python -m tests.changes.killed_lab FOLDER NUMBER before|after``."""

from __future__ import annotations

import sys
from pathlib import Path

from kvmlab.changes import HostStep
from kvmlab.changes.change import AppliedSteps
from kvmlab.domain import TestVM
from tests.changes.plain_host import PlainRunner, make_step, plain_host, write_step


def main(folder: Path, number: int, when: str) -> None:
    runner = PlainRunner(die_at=number, after=when == "after")
    with plain_host(runner) as host:
        change = AppliedSteps(TestVM.find(host, "test"), the_steps(folder), scheme="dying")
        change.apply()
        print("made", flush=True)
        change.revert()
        print("commands", len(runner.ran), flush=True)


def the_steps(folder: Path) -> tuple[HostStep, ...]:
    """Return steps for three files and a directory."""
    return (
        write_step(folder / "one", "0", "1"),
        make_step(folder / "made"),
        write_step(folder / "two", "0", "2"),
        write_step(folder / "three", "0", "3"),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
