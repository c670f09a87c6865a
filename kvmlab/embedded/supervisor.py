"""The process that owns a lab host's QEMU (``python -m kvmlab.embedded.supervisor DIR``).

It stands between the host and its clients so that nothing a client does, dying included, leaves a
QEMU, a lock or a file behind:

- The kernel kills QEMU when the supervisor ends.
- The supervisor ends with its owner, the process that started it, which holds its standard input;
  unless the owner detaches it. Then it ends by ``stop`` or after a long time without a client.
- One client at a time leases the host; its open connection is the lease. A client that ends
  without releasing leaves the host dirty, and the next one gets it from its saved state.

Descriptors handed over by the owner: 0, the owner's pipe; and by number in the arguments, the
listening control socket and the lock on the run directory.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from kvmlab.embedded import messages
from kvmlab.embedded.connections import Client, Leaseholder
from kvmlab.embedded.host_config import PROTOCOL, HostConfig
from kvmlab.embedded.host_lifecycle import HostProcess
from kvmlab.errors import EmbeddedError, HostBusy, KvmlabError


class Supervisor:
    """The control socket, the leases and the end of one lab host."""

    def __init__(self, config: HostConfig) -> None:
        self.config = config
        self.host = HostProcess(config)
        self.leaseholder: Leaseholder | None = None
        self.leasing_client: Client | None = None
        self.detached = False
        self.dirty = False
        self.started = time.time()
        self.last_use = time.monotonic()
        self.stopping = asyncio.Event()
        self._clients: set[asyncio.Task[None]] = set()
        # The methods of `host` run one after the other.
        self._host_lock = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None

    async def run(self, listener: socket.socket) -> None:
        """Serve clients until stopped, then end the host."""
        self._watch_owner()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self.stopping.set)
        # From Python 3.13 on, a server looks for its socket's path to remove it; this one was bound
        # by a path that only its owner had, and goes with the run directory.
        newer: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        server = await asyncio.start_unix_server(
            self._on_connect, sock=listener, limit=messages.LINE_LIMIT, **newer
        )
        idle = asyncio.create_task(self._watch_idle())
        try:
            await self.stopping.wait()
        finally:
            server.close()
            for task in self._clients:
                task.cancel()
            background = [idle] if self._refreshing is None else [idle, self._refreshing]
            for task in background:
                task.cancel()
            await asyncio.gather(*self._clients, *background, return_exceptions=True)
            await self.host.close()

    def _watch_owner(self) -> None:
        """Stop when the owner closes its end or dies (a forked child may keep the end open)."""
        loop = asyncio.get_running_loop()

        def ended(descriptor: int) -> None:
            loop.remove_reader(descriptor)
            if not self.detached:
                self.stopping.set()

        loop.add_reader(sys.stdin.fileno(), ended, sys.stdin.fileno())
        try:
            owner = os.pidfd_open(self.config.owner_pid)
        except ProcessLookupError:
            self.stopping.set()
            return
        loop.add_reader(owner, ended, owner)

    async def _watch_idle(self) -> None:
        """Stop a detached host after `idle_sec` seconds without a client."""
        limit = self.config.settings.idle_sec
        while True:
            idle = time.monotonic() - self.last_use
            if self.detached and self.leaseholder is None and idle >= limit:
                print(f"no client for {idle:.0f} s: ending", flush=True)
                self.stopping.set()
                return
            await asyncio.sleep(min(30.0, max(0.2, limit - idle)))

    async def _on_connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._clients.add(task)
            task.add_done_callback(self._clients.discard)
        client = Client(writer)
        loop = asyncio.get_running_loop()
        # A forked child may keep the connection open; the client's own death ends it as well.
        try:
            watched = os.pidfd_open(client.pid)
        except ProcessLookupError:
            writer.close()
            return
        loop.add_reader(watched, client.disconnected.set)
        try:
            await self._serve(client, reader)
        except ConnectionError:
            pass  # The client went away in the middle; `_on_disconnect` takes it from here.
        finally:
            loop.remove_reader(watched)
            os.close(watched)
            self._on_disconnect(client)
            writer.close()

    async def _serve(self, client: Client, reader: asyncio.StreamReader) -> None:
        disconnected = asyncio.create_task(client.disconnected.wait())
        try:
            while True:
                line = asyncio.create_task(reader.readline())
                await _first_of(line, disconnected)
                if not line.done() or not line.result():
                    line.cancel()
                    return
                # Clients do not talk before they are answered: whatever comes now is their end.
                answer = asyncio.create_task(self._answer(client, line.result()))
                hangup = asyncio.create_task(reader.read(1))
                await _first_of(answer, hangup, disconnected)
                finished = answer.done()
                for task in (answer, hangup):
                    task.cancel()
                failure, _ = await asyncio.gather(answer, hangup, return_exceptions=True)
                if not finished or client.disconnected.is_set():
                    return
                if isinstance(failure, Exception):
                    traceback.print_exception(failure)
                    client.send(messages.error_message(failure))
                await client.writer.drain()
        finally:
            disconnected.cancel()

    def _on_disconnect(self, client: Client) -> None:
        if self.leasing_client is client:
            self._end_lease(clean=False)

    def _end_lease(self, *, clean: bool) -> None:
        self.dirty = self.dirty or not clean
        self.leaseholder, self.leasing_client = None, None
        self.last_use = time.monotonic()
        if self.dirty and not self.stopping.is_set():
            self._refreshing = asyncio.create_task(self._refresh())

    async def _refresh(self) -> None:
        """Restore a dirty host before the next client has to wait for it.

        That also ends what the client left running, and frees the lock on a state that it did not
        get to save.
        """
        try:
            async with self._host_lock:
                if self.dirty and self.leaseholder is None and await self.host.refresh():
                    self.dirty = False
        except (KvmlabError, OSError) as error:
            # The next lease tries again and reports the error to its client.
            print(f"refreshing failed: {error!r}", flush=True)

    async def _answer(self, client: Client, line: bytes) -> None:
        try:
            request = messages.decode(line)
            action = {
                "status": self._status,
                "lease": self._lease,
                "save": self._save,
                "join": self._join,
                "release": self._release,
                "detach": self._detach,
                "stop": self._stop,
            }.get(str(request.get("do")))
            if action is None:
                raise EmbeddedError(f"The supervisor knows no request {request.get('do')!r}.")
            client.send({"ok": await action(client, request)})
        except KvmlabError as error:
            print(f"request failed: {error!r}", flush=True)
            client.send(messages.error_message(error))

    async def _status(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        death = self.host.death()
        return {
            "protocol": PROTOCOL,
            "supervisor_pid": os.getpid(),
            "started": self.started,
            "detached": self.detached,
            "dirty": self.dirty,
            "leaseholder": self.leaseholder.sentence() if self.leaseholder else None,
            "idle_sec": time.monotonic() - self.last_use,
            "died": messages.error_message(death)["error"] if death else None,
            **self.host.coordinates(),
        }

    async def _lease(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        if self.leaseholder is not None:
            raise HostBusy(
                f"The embedded host is in use by {self.leaseholder.sentence(client.pid)}; one "
                "client at a time can have it.",
                todo="Close that one (a notebook: shut its kernel down), or end the host with "
                "`kvmlab host down`.",
            )
        # Set before the host is brought up, so that a second client is refused at once.
        self.leaseholder = Leaseholder(client.pid, str(request.get("command", "")), time.time())
        self.leasing_client = client
        try:
            async with self._host_lock:
                if self.dirty or not self.host.prepared:
                    self.dirty = True
                    await self.host.bring_up(client.say)
                    self.dirty = False
        except BaseException:
            self._end_lease(clean=False)
            raise
        return self.host.coordinates()

    async def _save(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        self._require_lease(client)
        async with self._host_lock:
            await self.host.save(client.say)
        return self.host.coordinates()

    async def _join(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        self._require_lease(client)
        async with self._host_lock:
            await self.host.join_cables(joined=bool(request.get("joined")))
        return {}

    async def _release(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        self._require_lease(client)
        self._end_lease(clean=bool(request.get("clean")))
        return {}

    async def _detach(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        self.detached = True
        return {}

    async def _stop(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        self.stopping.set()
        return {}

    def _require_lease(self, client: Client) -> None:
        if self.leasing_client is not client:
            raise EmbeddedError("Only the client that has leased the host may do that.")


async def _first_of(*tasks: asyncio.Task[Any]) -> None:
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


def main() -> int:
    """Run the host of the run directory in the arguments until it is to end."""
    parser = argparse.ArgumentParser(prog="kvmlab.embedded.supervisor")
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--listener", type=int, required=True)
    parser.add_argument("--lock", type=int, required=True)
    arguments = parser.parse_args()
    os.set_inheritable(arguments.lock, False)
    os.set_inheritable(arguments.listener, False)
    try:
        config = HostConfig.read(arguments.run_dir)
        with socket.socket(fileno=arguments.listener) as listener:
            listener.setblocking(False)
            asyncio.run(Supervisor(config).run(listener))
    finally:
        # The lock ends with this process, after the directory, so nobody sweeps it meanwhile.
        shutil.rmtree(arguments.run_dir, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
