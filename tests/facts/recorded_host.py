"""Record a real host for the tests: ``python -m tests.facts.recorded_host SPEC FILE [SETUP]``.

SETUP is a shell script that brings the host into the state to be recorded; it is made for the
embedded host, which forgets all of it afterwards.

libvirt is left out of a recording: its place takes libvirt's own test driver, here and when the
recording is read, so that a guest is booted to judge KVM.
"""

from __future__ import annotations

import sys
from pathlib import Path

from kvmlab import open_lab
from kvmlab.facts import inspect
from kvmlab.hosts import Host, HostKind, RecordedRunner, Recorder, Runner


def recorded_host(runner: Runner) -> Host:
    """Return a host that is nothing but its recording."""
    return Host(
        spec="recorded",
        kind=HostKind.RECORDED,
        label=runner.name,
        runner=runner,
        libvirt_uri="test:///default",
    )


def load(path: Path) -> Host:
    """Return the host recorded in ``path``."""
    return recorded_host(RecordedRunner.load(path))


def main(spec: str, path: str, setup: str | None = None) -> None:
    """Inspect ``spec`` and write what it answered to ``path``."""
    with open_lab(spec, clock="wall") as lab:
        if setup is not None:
            script = Path(setup).read_text()
            print(lab.host.run(("sh", "-s"), input_text=script, timeout_sec=60, root=True).stderr)
        recorder = Recorder(lab.host.runner)
        print(inspect(recorded_host(recorder)))
        recorder.save(Path(path))


if __name__ == "__main__":
    main(*sys.argv[1:])
