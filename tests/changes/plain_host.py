"""A host for tests of steps: its "settings" are files, its commands really run."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from kvmlab.changes import Command, HostStep, Setting, operations
from kvmlab.hosts import Host, HostKind, LocalRunner
from kvmlab.process import Completed

SPEC = "qemu+ssh://nobody@nowhere.invalid/system"


class PlainRunner(LocalRunner):
    """Runs everything as this user; the files that tests change need no root.

    ``die_at`` kills this process, as a power cut would, before the command of that number, or with
    ``after`` right after it.
    """

    def __init__(self, die_at: int | None = None, *, after: bool = False) -> None:
        super().__init__()
        self.ran: list[tuple[str, ...]] = []
        self._die_at = die_at
        self._after = after

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_sec: float,
        input_text: str | None = None,
        check: bool = True,
        root: bool = False,
    ) -> Completed:
        due = len(self.ran) == self._die_at
        self.ran.append(tuple(argv))
        if due and not self._after:
            os.kill(os.getpid(), signal.SIGKILL)
        done = super().run(
            argv, timeout_sec=timeout_sec, input_text=input_text, check=check, root=False
        )
        if due:
            os.kill(os.getpid(), signal.SIGKILL)
        return done


@operations.register("test-write", str.isprintable, str.isprintable)
def write_anywhere(path: str, text: str) -> Command:
    """Write a file outside of /sys, which no operation of kvmlab does."""
    return Command.write(path, text)


@operations.register("test-rmdir", str.isprintable)
def remove_folder(path: str) -> Command:
    return Command(("rmdir", path))


def plain_host(runner: PlainRunner) -> Host:
    """Return a host with that runner and libvirt's test driver."""
    return Host(
        spec=SPEC,
        kind=HostKind.RECORDED,
        label="a plain host",
        runner=runner,
        libvirt_uri="test:///default",
    )


def write_step(path: Path, before: str, after: str) -> HostStep:
    """Return a step that changes the text of a file."""
    return HostStep(
        what=f"Write {after} into {path.name}.",
        setting=Setting(str(path), before, after),
        do=(Command.write(str(path), after),),
        undo=(write_anywhere(str(path), before),),
        touches=(path.name,),
    )


def make_step(path: Path) -> HostStep:
    """Return a step that makes a directory."""
    return HostStep(
        what=f"Make {path.name}.",
        setting=Setting(str(path), None, "present"),
        do=(Command(("mkdir", str(path))),),
        undo=(remove_folder(str(path)),),
        touches=(path.name,),
    )
