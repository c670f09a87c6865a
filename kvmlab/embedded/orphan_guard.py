"""A wrapper that lets no process of a tool outlive the process that started the tool.

Called as `python orphan_guard.py PARENT ARGV...`.

mmdebstrap and its children notice neither the death of the process that waits for them nor, while
a package installs, a polite signal. This process asks the kernel for a signal at that death, and
then ends the whole process group, of which `kvmlab.process.run` made it the leader. It imports
nothing of kvmlab: it has to start quickly and to work whatever happens elsewhere.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from types import FrameType

PR_SET_PDEATHSIG = 1


def _end_group(number: int, frame: FrameType | None) -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main(argv: list[str]) -> int:
    """Run ``argv[1:]`` for the parent with process id ``argv[0]``; return the tool's exit code."""
    signal.signal(signal.SIGTERM, _end_group)
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(argv[0]):
        return 1  # the parent died before the kernel was asked
    return subprocess.call(argv[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
