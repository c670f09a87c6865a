"""Record the embedded host for tests without one: `python -m tests.measure.record` writes them.

Writes tests/data/measure/recorded-vhost (one measurement: host, guest and subject) and
window-*.txt (two snapshots each, all that counters read). Run it after a change of
``meters.pl`` or of what counters read, and look at the differences.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from kvmlab import FullEmulation, Lab, Virtio, open_lab
from kvmlab.changes import Nic
from kvmlab.domain import TestVM
from kvmlab.domain.agent import GuestAgent
from kvmlab.hosts import Recorder
from kvmlab.measure import Subject, Trials
from kvmlab.measure.meters import Meters
from kvmlab.measure.session import measure
from kvmlab.measure.trial import run_trial
from kvmlab.measure.workloads import workload
from kvmlab.process import Completed
from tests.measure.recorded import DATA

TRIALS = Trials(count=1, workloads=("tcp_up", "latency", "pps"), full_costs=True)
WINDOWS = (
    ("e1000e-pps", FullEmulation("e1000e"), "pps"),
    ("virtio-qemu-tcp_up", Virtio(backend="qemu"), "tcp_up"),
    ("vhost-tcp_up", Virtio(backend="vhost"), "tcp_up"),
)


class RecordingGuest(GuestAgent):
    """The real agent, with a note of each command and its end."""

    def __init__(self, vm: TestVM) -> None:
        super().__init__(vm)
        self._inputs: dict[int, str | None] = {}
        self.replies: list[dict[str, object]] = []

    def start(self, argv: Sequence[str], *, input_text: str | None = None) -> int:
        """Start a command."""
        handle = super().start(argv, input_text=input_text)
        self._inputs[handle] = None if input_text is None else input_text.partition("\n")[0]
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
        """Wait for a command and note its end."""
        done = super().wait(handle, argv, timeout_sec=timeout_sec, check=check, quiet_sec=quiet_sec)
        self.replies.append(
            {
                "argv": list(argv),
                "root": False,
                "input": self._inputs.pop(handle),
                "returncode": done.returncode,
                "stdout": done.stdout.splitlines(keepends=True),
                "stderr": done.stderr.splitlines(keepends=True),
            }
        )
        return done


def main() -> None:
    """Record all."""
    with open_lab("embedded") as lab:
        lab.inspect()
        for name, scheme, work in WINDOWS:
            with lab.plan(scheme).applied(lab.vm) as nic:
                _window(lab, nic, name, work)
                if name.startswith("vhost"):
                    _measurement(lab, nic, DATA / "recorded-vhost")


def _measurement(lab: Lab, nic: Nic, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    recorder = lab.host.runner = Recorder(lab.host.runner)
    guest = lab.vm.agent = RecordingGuest(lab.vm)
    measure(lab.host, lab.vm, nic, TRIALS)
    recorder.save(folder / "host.json")
    _write(folder / "guest.json", {"host": "test VM", "replies": guest.replies})
    about = {"vm": lab.vm.name, "nic": nic.to_dict(), "cable": asdict(lab.cable)}
    _write(folder / "subject.json", about)


def _window(lab: Lab, nic: Nic, name: str, work: str) -> None:
    plain, subject = lab.host.runner, Subject.of(lab.host, lab.vm, nic)
    recorder = lab.host.runner = Recorder(plain)
    try:
        with Meters(lab.host) as meters:
            trials = TRIALS.on(lab.host.clock)
            todo = workload(work, trials, nic.peer_ip)
            run_trial(subject, todo, trials, meters, number=1, block=1)
        recorder.save(DATA / "window.json")
    finally:
        lab.host.runner = plain
    talks = json.loads((DATA / "window.json").read_text())["talks"]
    (DATA / "window.json").unlink()
    events = [tuple(event) for event in talks[0]["events"]]
    begin = events.index(("line", "=== snapshot begin"))
    end = events.index(("line", "=== end"), begin)
    lines = "".join(f"{text}\n" for _, text in events[begin : end + 1])
    (DATA / f"window-{name}.txt").write_text(lines)
    print(name, subject.threads)


def _write(path: Path, document: Mapping[str, object]) -> None:
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
