"""The life of one lab host in its supervisor: from a saved state or a cold boot, saved, ended."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kvmlab.directories import write_atomically
from kvmlab.embedded import saved_state
from kvmlab.embedded.host_config import HostConfig
from kvmlab.embedded.machine import Machine, PortTaken, Stalled
from kvmlab.embedded.saved_state import State
from kvmlab.embedded.ssh_keys import make_keys
from kvmlab.errors import EmbeddedError, MachineDied, MachineTimeout, StateUnfit
from kvmlab.file_locks import FileLock

Say = Callable[[str], None]

COLD_BOOT_SEC = 300.0
BOOT_TRIES = 3
FIRST_ANSWER_SEC = 30.0
OTHER_SAVER_SEC = 600.0
PORT_TRIES = 5


class HostProcess:
    """The lab host of one supervisor. Its methods are called one after the other."""

    def __init__(self, config: HostConfig) -> None:
        self.config = config
        self._facts = config.facts()
        self._machine: Machine | None = None
        self._ram_fd = -1
        self._saver: FileLock | None = None
        self._port = 0
        self._how = ""
        self._prepared = False
        self._up_sec = 0.0

    @property
    def prepared(self) -> bool:
        """True where the host is ready for clients: restored, or prepared after a cold boot."""
        return self.alive and self._prepared

    @property
    def alive(self) -> bool:
        """True while QEMU runs."""
        return self._machine is not None and not self._machine.exit.done()

    def death(self) -> MachineDied | None:
        """Return how QEMU ended, if it ended by itself."""
        if self._machine is None or not self._machine.exit.done():
            return None
        return self._machine.death()

    def coordinates(self) -> dict[str, Any]:
        """Return the host's port, process and how it came up, as clients get it."""
        return {
            "port": self._port,
            "how": self._how,
            "prepared": self._prepared,
            "up_sec": self._up_sec,
            "qemu_pid": self._machine.pid if self._machine is not None and self.alive else None,
        }

    async def bring_up(self, say: Say) -> None:
        """Start a clean host in place of the one before.

        A host from a saved state is prepared. After a cold boot `coordinates` says that it is
        not: the client prepares it and then calls `save`.

        Raises:
            MachineDied, MachineTimeout: a cold boot failed.
            UsageError, PortTaken: the host cannot be started as its settings say.
        """
        await self.close()
        started = time.monotonic()
        reason = await self._restore_if_possible(say)
        if reason:
            if await self._become_saver(say):
                # Another process saved the state while this one waited for its turn.
                reason = await self._restore_if_possible(say)
            if not reason:
                self._drop_saver()  # there is nothing to save, and others wait for their turn
            else:
                say(f"cold boot: {reason}")
                await self._boot_with_deadline(say)
                self._how = f"cold boot: {reason}"
        self._up_sec = time.monotonic() - started

    async def refresh(self) -> bool:
        """Restore the host from its saved state; return False where there is none."""
        await self.close()
        return not await self._restore_if_possible(lambda text: None)

    async def save(self, say: Say) -> None:
        """Save the prepared host, and restore it from there.

        A state that cannot be saved is no failure: the host runs on, and `coordinates` says why.
        """
        self._prepared = True
        machine, ram_fd = self._machine, self._ram_fd
        if machine is None or ram_fd < 0 or self._saver is None:
            return
        try:
            saved_state.check_space(self.config.states, ram_fd)
            say("saving the state of the host")
            await self._write_state(machine, ram_fd)
        except (StateUnfit, MachineTimeout, OSError) as error:
            machine.check()
            say(f"not saved: {error}")
            self._how += f"; not saved: {error}"
            await machine.resume()
            return
        finally:
            self._drop_saver()
        cold = self._how
        await self.close()
        reason = await self._restore_if_possible(say)
        if reason:
            # Saving is of no use where the result does not load.
            raise StateUnfit(
                f"The state that was just saved does not load: {reason}.",
                todo="Try again; if it happens again, this QEMU cannot save this machine.",
            )
        self._how = f"{cold}; now saved"

    async def join_cables(self, *, joined: bool) -> None:
        """Join the host's cables into one segment, or part them again.

        Raises:
            EmbeddedError: the host does not run, or they are so already.
        """
        if self._machine is None:
            raise EmbeddedError("The embedded host does not run.")
        await self._machine.join_cables(joined=joined)

    async def close(self) -> None:
        """End QEMU and release memory and locks."""
        await self._end_machine()
        self._drop_saver()

    async def _end_machine(self) -> None:
        machine, self._machine = self._machine, None
        self._prepared = False
        if machine is not None:
            await machine.quit()
        if self._ram_fd >= 0:
            os.close(self._ram_fd)
            self._ram_fd = -1

    async def _restore_if_possible(self, say: Say) -> str:
        """Restore from the saved state; return why it failed, or "" where it worked."""
        try:
            state = saved_state.find_state(self.config.states, self._facts)
            if state is None:
                return "there is no saved state for this image, QEMU and preparation"
            await self._restore(state)
        except (StateUnfit, MachineDied, MachineTimeout) as error:
            await self.close()
            saved_state.discard_state(self.config.states, self._facts)
            return f"the saved state was no good and is removed ({error.message})"
        self._how = f"restored from the state saved at {state.created}"
        self._prepared = True
        return ""

    async def _restore(self, state: State) -> None:
        state.keys.copy_to(self.config.run_dir)
        machine = await self._start(ram_path=state.ram, incoming=True)
        try:
            await machine.load(state.device_state)
        except MachineDied as error:
            raise StateUnfit("The saved state does not load.", evidence=error.evidence) from error
        except EmbeddedError as error:
            raise StateUnfit(error.message, evidence=error.evidence) from error
        await self._wait_for_sshd()

    async def _boot_with_deadline(self, say: Say) -> None:
        for attempt in range(1, BOOT_TRIES + 1):
            try:
                await self._boot()
                return
            except Stalled:
                if attempt == BOOT_TRIES:
                    raise
                say("the lab host's kernel stalled while booting; booting again")
                await self._end_machine()

    async def _boot(self) -> None:
        await asyncio.to_thread(make_keys, self.config.run_dir)
        self._ram_fd = os.memfd_create("kvmlab-ram", os.MFD_CLOEXEC)
        os.ftruncate(self._ram_fd, self.config.settings.memory_mib * 2**20)
        # Memory without a name: whatever happens, it is gone with the last process that has it.
        ram_path = Path(f"/proc/self/fd/{self._ram_fd}")
        self.config.console.unlink(missing_ok=True)
        machine = await self._start(ram_path=ram_path, incoming=False)
        await machine.wait_ready(COLD_BOOT_SEC)

    async def _start(self, *, ram_path: Path, incoming: bool) -> Machine:
        fixed_port = self.config.settings.ssh_port
        for attempt in range(PORT_TRIES):
            # A host that is restored keeps its port, for those who have noted it.
            port = fixed_port or (self._port if attempt == 0 else 0) or _free_port()
            hardware = self.config.hardware(
                ram_path=ram_path, ram_shared=not incoming, incoming=incoming, ssh_port=port
            )
            try:
                machine = await Machine.start(
                    self.config.qemu, hardware, self.config.qemu_log, ram_fd=self._ram_fd
                )
            except PortTaken:
                # Between finding a free port and QEMU's taking it, somebody else may be quicker.
                if fixed_port or attempt == PORT_TRIES - 1:
                    raise
                continue
            self._machine, self._port = machine, port
            line = self.config.keys.known_hosts_line(port)
            write_atomically(self.config.known_hosts, line, mode=0o600)
            return machine
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _wait_for_sshd(self) -> None:
        """Wait until the restored host's sshd greets (no keys are exchanged for that).

        Raises:
            MachineDied: QEMU ended.
            MachineTimeout: no greeting within `FIRST_ANSWER_SEC` seconds.
        """
        deadline = time.monotonic() + FIRST_ANSWER_SEC
        while True:
            if self._machine is not None:
                self._machine.check()
            try:
                async with asyncio.timeout(FIRST_ANSWER_SEC):
                    reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                    greeting = await reader.read(4)
                    writer.close()
                if greeting == b"SSH-":
                    return
            except (TimeoutError, ConnectionError):
                pass  # not yet; the deadline decides
            if time.monotonic() > deadline:
                raise MachineTimeout(
                    f"The restored host's sshd did not greet within {FIRST_ANSWER_SEC:g} s."
                )
            await asyncio.sleep(0.1)

    async def _become_saver(self, say: Say) -> bool:
        """Take the lock on saving this state; return True if another process had it meanwhile."""
        path = self.config.states / f"{self._facts.key}.lock"
        self._saver = FileLock.take(path)
        if self._saver is not None:
            return False
        say("another process is preparing the saved state; waiting for it")
        deadline = time.monotonic() + OTHER_SAVER_SEC
        while self._saver is None and time.monotonic() < deadline:
            await asyncio.sleep(0.3)
            self._saver = FileLock.take(path)
        return True

    def _drop_saver(self) -> None:
        if self._saver is not None:
            self._saver.close()
            self._saver = None

    async def _write_state(self, machine: Machine, ram_fd: int) -> None:
        states = self.config.states
        with saved_state.writing(states, self._facts) as work:
            await machine.save(work / "device.state")
            await asyncio.to_thread(saved_state.copy_memory, ram_fd, work / "ram")
            self.config.keys.copy_to(work)
        images = self.config.images
        saved_state.prune(
            states, keep=lambda image: image == self.config.image_hash or (images / image).is_dir()
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
