"""Start an incident, and die by kill -9: ``python -m tests.incidents.killed_start DIR``.

DIR is the run directory of the embedded host.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from kvmlab.changes.change import AppliedSteps
from kvmlab.incidents import IncidentSession, find_fault
from kvmlab.lab import visit_lab


def _die(self: AppliedSteps) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(run_dir: Path) -> None:
    # Everything is put in by then, and nothing was written that says so but the journals.
    AppliedSteps.leave = _die  # type: ignore[method-assign]
    faults = [find_fault("small-receive-window"), find_fault("bridged-dropped")]
    with visit_lab(run_dir) as lab:
        IncidentSession(lab).start(faults, "killed")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
