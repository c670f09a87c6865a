"""A probe for QEMU's defect of delivering an injected interrupt twice under ``-icount``.

That hangs the test VM under the virtual clock (docs/qemu-svm-event-injection.md). The answer comes
from running svm_probe.S for 0.05 s as the firmware of an empty machine, not from a version number.
"""

from __future__ import annotations

import base64
import re
import tempfile
from pathlib import Path

from kvmlab import process
from kvmlab.embedded.qemu import Qemu
from kvmlab.errors import CommandTimeout, OutputError

TIMEOUT_SEC = 20.0
SIZE = 0x10000
RESET_VECTOR = 0xFFF0

# svm_probe.S, assembled: the code, and the jump to it at the reset vector.
_CODE = base64.b64decode(
    "+rA05kOwqeZAsATmQC5mDwEWbwEPIMAMAQ8iwGbqJAAPAAgAZrgQAI7YjsCO0LwAfAAA/DHAvwCQAAC5AA0AAPOrvw"
    "CxAADHB0cBCADHRwQAjg8AuYAAAMAPMg0AEAAADzC5FwEBwLgAoAAAMdIPMLsAkAAAxkMPgMZDEAP/Q1jHg6gAAAAg"
    "AACAuBAAkwyJgwAEAACJgyAEAACJgzAEAADHgxAEAAAIAJsMg8j/iYMEBAAAiYMUBAAAiYMkBAAAiYM0BAAAx4NkBA"
    "AAFwAAAMeDaAQAAFcBDwDHg4QEAAD/BwAAx4OIBAAAALAAAMaD0QQAABAPIMCJg1gFAADHg3AFAAACAgAAx4N4BQAA"
    "VAEPAMeD2AUAAAB4AACJ2A8B2L51AQ8AZrr4A6yEwHQD7uv4oADAAAAEMO6wCu5muvkMsAbu9Ov9/gUAwAAAuYCEHg"
    "Di/g8B2QAAAAAAAAAA//8AAACbzwD//wAAAJPPABcAVwEPAGt2bWxhYjogaW5qZWN0ZWQgMSwgZGVsaXZlcmVkIA=="
)
_JUMP = bytes.fromhex("ea000000f0")
_LINE = re.compile(r"kvmlab: injected 1, delivered (\d)")


def firmware() -> bytes:
    """Return the 64 KiB of svm_probe.S."""
    return _CODE.ljust(RESET_VECTOR, b"\0") + _JUMP.ljust(SIZE - RESET_VECTOR, b"\0")


def probe_argv(qemu: Qemu, rom: Path) -> tuple[str, ...]:
    """Return the command of a QEMU under the virtual clock with only the probe, which ends it."""
    return (
        *(*qemu.argv, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-machine", "q35", "-m", "64M", "-cpu", "EPYC,+svm,+npt"),
        *("-accel", "tcg,thread=single", "-icount", "shift=1,sleep=off"),
        *("-serial", "stdio", "-bios", str(rom)),
    )


def injects_once(qemu: Qemu) -> bool:
    """Return True where ``qemu`` is free of the defect, so that it can emulate the host.

    Raises:
        OutputError: the probe printed no result.
    """
    with tempfile.TemporaryDirectory(prefix="kvmlab-probe-") as folder:
        rom = Path(folder) / "svm_probe.bin"
        rom.write_bytes(firmware())
        try:
            done = process.run(
                probe_argv(qemu, rom), timeout_sec=TIMEOUT_SEC, check=False, env=dict(qemu.env)
            )
        except CommandTimeout:
            return False  # a guest that never comes back is the defect in its other form
    return delivered(done.stdout + done.stderr) == 1


def delivered(text: str) -> int:
    """Parse how often the interrupt was delivered.

    The probe's line is::

        kvmlab: injected 1, delivered 2

    Raises:
        OutputError: there is no such line.
    """
    match = _LINE.search(text)
    if match is None:
        raise OutputError(
            "The probe of QEMU's interrupt injection printed no result.", evidence=text[-2000:]
        )
    return int(match[1])
