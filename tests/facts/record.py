"""Record a real host for the tests: ``python -m tests.facts.record SPEC FILE [KEY KNOWN_HOSTS]``.

libvirt is left out of a recording: its place takes libvirt's own test driver, here and when the
recording is read, so that a guest is booted to judge KVM.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from kvmlab.facts import inspect
from kvmlab.hosts import (
    Host,
    HostKind,
    LocalRunner,
    RecordedRunner,
    Recorder,
    Runner,
    SshRunner,
    parse_uri,
)


def recorded_host(runner: Runner) -> Host:
    """A host that is nothing but its recording."""
    return Host(
        spec="recorded",
        kind=HostKind.RECORDED,
        label=runner.name,
        runner=runner,
        libvirt_uri="test:///default",
    )


def load(path: Path) -> Host:
    """The host recorded in ``path``."""
    return recorded_host(RecordedRunner.load(path))


def main(spec: str, path: str, *ssh: str) -> None:
    """Inspect ``spec`` and write what it answered to ``path``."""
    target = parse_uri(spec).ssh
    runner: Runner = LocalRunner()
    if target is not None:
        key, known_hosts = (*map(Path, ssh), None, None)[:2]
        runner = SshRunner(
            replace(target, key_path=key, known_hosts=known_hosts), deadline_sec=30.0
        )
    recorder = Recorder(runner)
    with recorded_host(recorder) as host:
        print(inspect(host))
        recorder.save(Path(path))


if __name__ == "__main__":
    main(*sys.argv[1:])
