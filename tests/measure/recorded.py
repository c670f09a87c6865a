"""A measurement's host and VM as recordings: what `tests.measure.record` wrote, replayed."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from kvmlab.changes import Nic
from kvmlab.clock import Clock
from kvmlab.domain import TestVM
from kvmlab.domain.agent import GuestAgent
from kvmlab.errors import GuestCommandFailed
from kvmlab.hosts import Cable, Host, HostKind, RecordedRunner
from kvmlab.process import Completed

DATA = Path(__file__).resolve().parent.parent / "data" / "measure"


class RecordedGuest(GuestAgent):
    """The guest agent of a recorded VM: a command has ended as soon as it was started."""

    def __init__(self, vm: TestVM, runner: RecordedRunner) -> None:
        super().__init__(vm)
        self._runner = runner
        self._ended: dict[int, Completed] = {}
        self._handles = itertools.count(1)

    def start(self, argv: Sequence[str], *, input_text: str | None = None) -> int:
        """Look the command up; returns a handle for `wait`."""
        handle = next(self._handles)
        self._ended[handle] = self._runner.run(
            argv, timeout_sec=1, input_text=input_text, check=False
        )
        return handle

    def wait(
        self,
        handle: int,
        argv: Sequence[str],
        *,
        timeout_sec: float,
        check: bool = True,
        quiet_sec: float = 0.0,
    ) -> Completed:
        """Return how the command ended when it was recorded."""
        done = self._ended.pop(handle)
        if check and done.returncode != 0:
            raise GuestCommandFailed(done)
        return done


@dataclass(frozen=True)
class Recording:
    """A host, its VM and the interface that was measured."""

    host: Host
    vm: TestVM
    nic: Nic


def recording(folder: Path) -> Recording:
    """Open the recording in ``folder``: host.json, guest.json, subject.json."""
    about = json.loads((folder / "subject.json").read_text(encoding="utf-8"))
    host = Host(
        spec="recorded",
        kind=HostKind.EMBEDDED,
        label="recorded host",
        runner=RecordedRunner.load(folder / "host.json"),
        libvirt_uri="test:///default",
        clock=Clock.VIRTUAL,
        emulated="Recorded on the embedded host.",
        cable=Cable(**about["cable"]),
    )
    vm = TestVM(host, cast("Any", None), about["vm"])
    vm.agent = RecordedGuest(vm, RecordedRunner.load(folder / "guest.json"))
    return Recording(host, vm, Nic(**about["nic"]))


Document = dict[str, Any]


def edited(folder: Path, copy: Path, edit: Callable[[Document, Document], None]) -> Path:
    """Copy a recording to ``copy`` and let ``edit`` change its host and guest documents."""
    shutil.copytree(folder, copy)
    paths = copy / "host.json", copy / "guest.json"
    host, guest = (json.loads(path.read_text(encoding="utf-8")) for path in paths)
    edit(host, guest)
    for path, document in zip(paths, (host, guest), strict=True):
        path.write_text(json.dumps(document), encoding="utf-8")
    return copy


def meters_talk(host: Document) -> Document:
    """Return the conversation with ``meters.pl`` in a host's document."""
    return next(talk for talk in host["talks"] if "meters.pl" in talk["argv"])
