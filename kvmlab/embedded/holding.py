"""The life of one lab host in its keeper: from a saved state or a cold boot, saved, ended."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kvmlab.embedded import snapshot
from kvmlab.embedded.locks import FileLock
from kvmlab.embedded.machine import Machine, PortTaken, Stalled
from kvmlab.embedded.paths import write_atomically
from kvmlab.embedded.snapshot import State
from kvmlab.embedded.spec import Spec
from kvmlab.embedded.sshkeys import make_keys
from kvmlab.errors import EmbeddedError, MachineDied, MachineTimeout, StateUnfit

Say = Callable[[str], None]

COLD_BOOT_SEC = 300.0
BOOT_TRIES = 3
FIRST_ANSWER_SEC = 30.0
OTHER_SAVER_SEC = 600.0
PORT_TRIES = 5


class HeldHost:
    """The lab host of one keeper. Its methods are called one after the other."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._facts = spec.facts()
        self._machine: Machine | None = None
        self._ram_fd = -1
        self._saver: FileLock | None = None
        self._port = 0
        self._how = ""
        self._prepared = False
        self._up_sec = 0.0

    @property
    def prepared(self) -> bool:
        """Whether the host is as clients want it: restored, or prepared after a cold boot."""
        return self.alive and self._prepared

    @property
    def alive(self) -> bool:
        """Whether there is a QEMU that runs."""
        return self._machine is not None and not self._machine.exit.done()

    def death(self) -> MachineDied | None:
        """How QEMU ended, if it ended by itself."""
        if self._machine is None or not self._machine.exit.done():
            return None
        return self._machine.death()

    def coordinates(self) -> dict[str, Any]:
        """Where the host is and how it came up, for clients."""
        return {
            "port": self._port,
            "how": self._how,
            "prepared": self._prepared,
            "up_sec": self._up_sec,
            "qemu_pid": self._machine.pid if self._machine is not None and self.alive else None,
        }

    async def bring_up(self, say: Say) -> None:
        """Get a clean host, whatever was there before.

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
            if reason:
                say(f"cold boot: {reason}")
                await self._boot_patiently(say)
                self._how = f"cold boot: {reason}"
        self._up_sec = time.monotonic() - started

    async def refresh(self) -> bool:
        """Get a clean host from the saved state, where there is one; False where there is none."""
        await self.close()
        return not await self._restore_if_possible(lambda text: None)

    async def save(self, say: Say) -> None:
        """Save the prepared host and go on with it as restored from there.

        A state that cannot be saved is no failure: the host runs on, and `coordinates` says why.
        """
        self._prepared = True
        machine, ram_fd = self._machine, self._ram_fd
        if machine is None or ram_fd < 0 or self._saver is None:
            return
        try:
            snapshot.check_space(self.spec.states, ram_fd)
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
            # What was just written does not load, so saving is of no use here.
            raise StateUnfit(
                f"The state that was just saved does not load: {reason}.",
                todo="Try again; if it happens again, this QEMU cannot save this machine.",
            )
        self._how = f"{cold}; now saved"

    async def close(self) -> None:
        """End QEMU and let go of everything."""
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
        """Restore from the saved state; returns why not, or nothing where it worked."""
        try:
            state = snapshot.find_state(self.spec.states, self._facts)
            if state is None:
                return "there is no saved state for this image, QEMU and preparation"
            await self._restore(state)
        except (StateUnfit, MachineDied, MachineTimeout) as error:
            await self.close()
            snapshot.discard_state(self.spec.states, self._facts)
            return f"the saved state was no good and is removed ({error.message})"
        self._how = f"restored from the state saved at {state.created}"
        self._prepared = True
        return ""

    async def _restore(self, state: State) -> None:
        state.keys.copy_to(self.spec.run_dir)
        machine = await self._start(ram_path=state.ram, incoming=True)
        try:
            await machine.load(state.device_state)
        except MachineDied as error:
            raise StateUnfit("The saved state does not load.", evidence=error.evidence) from error
        except EmbeddedError as error:
            raise StateUnfit(error.message, evidence=error.evidence) from error
        await self._wait_for_sshd()

    async def _boot_patiently(self, say: Say) -> None:
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
        await asyncio.to_thread(make_keys, self.spec.run_dir)
        self._ram_fd = os.memfd_create("kvmlab-ram", os.MFD_CLOEXEC)
        os.ftruncate(self._ram_fd, self.spec.settings.memory_mib * 2**20)
        # Memory without a name: whatever happens, it is gone with the last process that has it.
        ram_path = Path(f"/proc/self/fd/{self._ram_fd}")
        self.spec.console.unlink(missing_ok=True)
        machine = await self._start(ram_path=ram_path, incoming=False)
        await machine.wait_ready(COLD_BOOT_SEC)

    async def _start(self, *, ram_path: Path, incoming: bool) -> Machine:
        wanted = self.spec.settings.ssh_port
        for attempt in range(PORT_TRIES):
            # A host that is restored keeps its port, for those who have noted it.
            port = wanted or (self._port if attempt == 0 else 0) or _free_port()
            hardware = self.spec.hardware(
                ram_path=ram_path, ram_shared=not incoming, incoming=incoming, ssh_port=port
            )
            try:
                machine = await Machine.start(
                    self.spec.qemu, hardware, self.spec.qemu_log, ram_fd=self._ram_fd
                )
            except PortTaken:
                # Between finding a free port and QEMU's taking it, somebody else may be quicker.
                if wanted or attempt == PORT_TRIES - 1:
                    raise
                continue
            self._machine, self._port = machine, port
            write_atomically(self.spec.known_hosts, self.spec.keys.known_hosts_line(port))
            return machine
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _wait_for_sshd(self) -> None:
        """A restored host is there when its sshd greets; no keys are exchanged for that."""
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
        """Take the right to save this state. True if another process had it in between."""
        path = self.spec.states / f"{self._facts.key}.lock"
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
        states = self.spec.states
        with snapshot.writing(states, self._facts) as work:
            await machine.save(work / "device.state")
            await asyncio.to_thread(snapshot.copy_memory, ram_fd, work / "ram")
            self.spec.keys.copy_to(work)
        images = self.spec.images
        snapshot.prune(
            states, keep=lambda image: image == self.spec.image_hash or (images / image).is_dir()
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
