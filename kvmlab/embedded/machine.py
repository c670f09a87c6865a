"""The QEMU process of a lab host: start, QMP, console, save and load, end.

It is asynchronous to notice several events at once: an answer of QMP, a line on the console, the
end of the process. Every wait has a deadline and ends at once when QEMU does.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from qemu.qmp import QMPClient, QMPError

from kvmlab.embedded.qemu import Qemu
from kvmlab.embedded.topology import JOINT, Hardware, machine_argv
from kvmlab.errors import EmbeddedError, MachineDied, MachineTimeout

T = TypeVar("T")

READY_LINE = "kvmlab: ready"
# On a busy machine an emulated CPU sometimes sleeps through its timer while the kernel boots, for
# ever; the kernel notices after 21 s.
STALL_LINE = "detected stalls on CPUs"
QMP_SEC = 30.0
QUIT_SEC = 3.0
MIGRATION_SEC = 120.0
TAIL_LINES = 25
PORT_TAKEN = "Could not set up host forwarding rule"

_PR_SET_PDEATHSIG = 1
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1bc|[\x00-\x08\x0b-\x1f\x7f]")


class PortTaken(EmbeddedError):
    """The port for the lab host's sshd is used by somebody else."""


class Stalled(EmbeddedError):
    """The lab host's kernel stalled while booting; the next attempt is likely to succeed."""


class Machine:
    """A started QEMU. Made by `start`; not usable after `quit`."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        qmp: QMPClient,
        console: Path,
        log: Path,
    ) -> None:
        self._process = process
        self._qmp = qmp
        self._console = console
        self._log = log
        self._exit = asyncio.create_task(process.wait())

    @classmethod
    async def start(cls, qemu: Qemu, hardware: Hardware, log: Path, ram_fd: int = -1) -> Machine:
        """Start ``qemu`` as ``hardware`` and greet it over QMP; its messages go to ``log``.

        QEMU dies with this process, however this process ends. ``hardware.qmp_fd`` is chosen
        here. ``ram_fd`` is kept open in QEMU for a ``hardware.ram_path`` below /proc/self/fd.

        Raises:
            PortTaken: the port for ssh is in use.
            MachineDied: QEMU ended at once; the evidence is what it printed.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs, log.open("ab") as messages:
            argv = (*qemu.argv, *machine_argv(replace(hardware, qmp_fd=theirs.fileno())))
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=messages,
                stderr=messages,
                env={**os.environ, "LC_ALL": "C", **dict(qemu.env)},
                pass_fds=(theirs.fileno(), *((ram_fd,) if ram_fd >= 0 else ())),
                preexec_fn=_dies_with_parent(),
                process_group=0,
            )
        machine = cls(process, QMPClient("lab-host"), hardware.console, log)
        try:
            await machine._while_alive(machine._qmp.connect(ours), "the greeting of QMP", QMP_SEC)
        except BaseException as error:
            ours.close()
            await machine.quit()
            if isinstance(error, MachineDied) and PORT_TAKEN in error.evidence:
                raise PortTaken(
                    f"Port {hardware.ssh_port} of 127.0.0.1 is used by another program; the lab "
                    "host's sshd needs a free one.",
                    todo="Choose another port, or 0 for any free one.",
                ) from error
            raise
        return machine

    @property
    def pid(self) -> int:
        """Process id of QEMU."""
        return self._process.pid

    @property
    def exit(self) -> asyncio.Task[int]:
        """Done when QEMU has ended, however it did."""
        return self._exit

    async def execute(self, command: str, arguments: Mapping[str, object] | None = None) -> object:
        """Send one QMP command and return its answer.

        Raises:
            MachineDied: QEMU ended meanwhile.
            MachineTimeout: no answer.
            EmbeddedError: QEMU refused the command.
        """
        what = f"QEMU's answer to {command}"
        return await self._while_alive(self._qmp.execute(command, arguments), what, QMP_SEC)

    async def wait_ready(self, timeout_sec: float) -> None:
        """Wait for the console line by which the lab host tells that sshd and libvirtd answer.

        Raises:
            MachineDied, MachineTimeout, Stalled: with the last console lines.
        """
        deadline = time.monotonic() + timeout_sec
        while READY_LINE not in (text := self.console_text()):
            self.check()
            if STALL_LINE in text:
                raise Stalled(
                    "The lab host's kernel stalled while booting.",
                    todo="This machine is very busy; end other work and try again.",
                    evidence=self.console_tail(),
                )
            if time.monotonic() > deadline:
                raise MachineTimeout(
                    f"The lab host did not get ready within {timeout_sec:g} s.",
                    todo="Look at its last console lines; on a very busy machine, try again.",
                    evidence=self.console_tail(),
                )
            await asyncio.sleep(0.1)

    async def save(self, device_state: Path) -> None:
        """Stop the lab host and write all of it but its memory to ``device_state``.

        Raises:
            EmbeddedError: QEMU could not; the lab host stays stopped.
        """
        await self.execute("stop")
        await self._share_memory()
        await self.execute("migrate", {"uri": f"file:{device_state}"})
        await self._migrated("saved")

    async def load(self, device_state: Path) -> None:
        """Bring a machine started with ``incoming`` to the saved state and let it run.

        Raises:
            EmbeddedError: the state does not load; QEMU may have ended over it.
        """
        await self._share_memory()
        await self.execute("migrate-incoming", {"uri": f"file:{device_state}"})
        await self._migrated("loaded")
        await self.execute("cont")

    async def join_cables(self, *, joined: bool) -> None:
        """Join the two cables into one segment, or part them again; it is not saved with a state.

        Raises:
            EmbeddedError: they are so already.
        """
        if joined:
            for end in JOINT:
                await self.execute("netdev_add", end)
        else:
            for end in reversed(JOINT):
                await self.execute("netdev_del", {"id": end["id"]})

    async def resume(self) -> None:
        """Let a stopped lab host run on."""
        await self.execute("cont")

    async def quit(self) -> None:
        """End QEMU by QMP, or kill it after `QUIT_SEC`. It has nothing left to write."""
        if not self._exit.done():
            with contextlib.suppress(EmbeddedError):
                await self._while_alive(self._qmp.execute("quit"), "quitting", QUIT_SEC)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._exit), QUIT_SEC)
        if not self._exit.done():
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._exit
        with contextlib.suppress(QMPError, OSError, EOFError):
            await self._qmp.disconnect()

    def check(self) -> None:
        """Raise MachineDied if QEMU has ended."""
        if self._exit.done():
            raise self.death()

    def death(self) -> MachineDied:
        """Return the error of QEMU's end, with its last messages and console lines."""
        code = self._exit.result()
        how = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with code {code}"
        return MachineDied(
            f"The QEMU of the embedded host (process {self.pid}) {how}.",
            todo="Start the host again; it comes back in its clean state.",
            evidence=self.messages() + self.console_tail(),
        )

    def messages(self) -> str:
        """Return QEMU's last messages, without its warnings about CPU flags."""
        log = _tail_of(self._log).splitlines()
        lines = [line for line in log if "warning:" not in line]
        return "".join(f"{line}\n" for line in lines[-TAIL_LINES:])

    def console_text(self) -> str:
        """Return the end of the lab host's console (64 KiB), without escape sequences."""
        return _tail_of(self._console)

    def console_tail(self) -> str:
        """Return the last lines of the lab host's console."""
        return console_tail(self._console)

    async def _share_memory(self) -> None:
        """Leave memory in a shared file out of what is saved: the file is its saved form."""
        capability = {"capability": "x-ignore-shared", "state": True}
        await self.execute("migrate-set-capabilities", {"capabilities": [capability]})

    async def _migrated(self, what: str) -> None:
        deadline = time.monotonic() + MIGRATION_SEC
        while True:
            answer = await self.execute("query-migrate")
            status = answer.get("status") if isinstance(answer, dict) else None
            if status == "completed":
                return
            if status in ("failed", "cancelled"):
                reason = answer.get("error-desc", "") if isinstance(answer, dict) else ""
                raise EmbeddedError(
                    f"The lab host's state could not be {what}: {reason or status}.",
                    evidence=self.messages(),
                )
            if time.monotonic() > deadline:
                raise MachineTimeout(
                    f"The lab host's state was not {what} within {MIGRATION_SEC:g} s.",
                    evidence=self.console_tail(),
                )
            await asyncio.sleep(0.02)

    async def _while_alive(self, waited: Awaitable[T], what: str, timeout_sec: float) -> T:
        """Await an action of QEMU until the deadline, and no longer than QEMU runs."""
        task = asyncio.ensure_future(waited)
        try:
            await asyncio.wait(
                {task, self._exit}, timeout=timeout_sec, return_when=asyncio.FIRST_COMPLETED
            )
            if task.done() and not task.exception():
                return task.result()
            if not task.done() and not self._exit.done():
                raise MachineTimeout(
                    f"{what[0].upper()}{what[1:]} did not come within {timeout_sec:g} s.",
                    evidence=self.console_tail(),
                )
            # A connection that breaks is how a dying QEMU is often noticed first.
            await asyncio.wait({self._exit}, timeout=1.0)
            self.check()
            raise EmbeddedError(
                f"{what[0].upper()}{what[1:]} failed: {task.exception()}.",
                evidence=self.messages(),
            ) from task.exception()
        finally:
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, QMPError, OSError, EOFError):
                    await task


def console_tail(console: Path) -> str:
    """Return the last lines of a console log that are not blank."""
    lines = [line.rstrip() for line in _tail_of(console).splitlines() if line.strip()]
    return "".join(f"{line}\n" for line in lines[-TAIL_LINES:])


def _tail_of(path: Path, size: int = 65536) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return _ESCAPES.sub("", text)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _dies_with_parent() -> Callable[[], None]:
    """Return what a child runs between fork and exec, to be killed when its parent ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(127)

    return prepare
