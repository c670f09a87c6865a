"""Leases of embedded hosts: one's own, a run's, or the shared one; always clean when leased."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from kvmlab import process
from kvmlab.clock import Clock
from kvmlab.embedded import client
from kvmlab.embedded.accelerator import Accel
from kvmlab.embedded.client import Connection, OwnedSupervisor, Progress, RunningHost
from kvmlab.embedded.host_config import KNOWN_HOSTS
from kvmlab.embedded.messages import to_error
from kvmlab.embedded.resolver import check_memory, difference, resolve_config
from kvmlab.embedded.settings import Settings
from kvmlab.embedded.ssh_keys import Keys
from kvmlab.errors import HostError, HostUnreachable, MachineDied

ENVIRONMENT = "KVMLAB_HOST"
TIDY_SEC = 60.0
# Zeros compress to nothing in a saved state, so what the lab host can free is made zeros first.
TIDY = "sync; echo 3 >/proc/sys/vm/drop_caches; echo 1 >/proc/sys/vm/compact_memory"


@dataclass(frozen=True)
class Preparation:
    """A change to a freshly booted host, made before its state is saved.

    Attributes:
        key: changes whenever what ``run`` does changes; part of the key of saved states.
        run: gets a lease of the booted host; must leave any virtual machine in it suspended and
            no connection to it open.
    """

    key: str
    run: Callable[[Lease], None]


class Lease:
    """The right to use an embedded host, and what is needed to reach it.

    Ends with `release`, with the ``with`` block, or with the process. Attributes: ``address``,
    ``port``, ``user``, ``key_path``, ``known_hosts`` for ssh; ``clock``, ``accel``, ``qemu`` and
    ``label`` tell what the host is, ``qemu_pid`` its process; ``how`` tells how it came up;
    ``shared`` whether it outlives this lease; ``console_path`` is the log of its serial console.
    """

    address = "127.0.0.1"
    user = "root"

    def __init__(
        self,
        running: RunningHost,
        connection: Connection,
        coordinates: Mapping[str, Any],
        owned: OwnedSupervisor | None = None,
        *,
        visiting: bool = False,
    ) -> None:
        config = running.config
        self.run_dir = running.run_dir
        self.key_path = config.keys.client
        self.known_hosts = config.known_hosts
        self.clock: Clock = config.settings.clock
        self.accel: Accel = config.accel
        self.qemu = str(config.qemu)
        self.label = config.label
        self.console_path = config.console
        self.shared = owned is None
        self._visiting = visiting
        self._connection: Connection | None = connection
        self._owned = owned
        self._update(coordinates)

    def _update(self, coordinates: Mapping[str, Any]) -> None:
        self.port = int(coordinates["port"])
        self.how = str(coordinates["how"])
        self.up_sec = float(coordinates["up_sec"])
        self.prepared = bool(coordinates["prepared"])
        self.qemu_pid: int | None = coordinates.get("qemu_pid")

    def check(self) -> None:
        """Check that the host still runs, as after a command on it that was cut off.

        Raises:
            MachineDied: it does not; the evidence is the end of its console.
        """
        if self._connection is None:
            raise HostError("This lease has been released.", todo="Acquire the host again.")
        died = self._connection.request("status")["died"]
        if died:
            raise to_error(died)

    @contextmanager
    def joined_cables(self) -> Iterator[None]:
        """Join the host's two cables into one segment for the length of the block.

        A client that dies in it leaves the host dirty; the next one gets it with both apart.

        Raises:
            EmbeddedError: they are joined already.
        """
        if self._connection is None:
            raise HostError("This lease has been released.", todo="Acquire the host again.")
        self._connection.request("join", joined=True)
        try:
            yield
        finally:
            self._connection.request("join", joined=False)

    def ssh_argv(self, *command: str) -> tuple[str, ...]:
        """Return the ssh command line that reaches the host, for people and one-off commands."""
        return ssh_argv(self.run_dir, self.port, *command)

    def release(self, *, clean: bool = True) -> None:
        """Give the host back; one's own host ends with that. Twice is no error.

        ``clean`` says that everything done to it has been put back. Otherwise the next client
        gets it from its saved state.
        """
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            if self._owned is None and not self._visiting:
                connection.request("release", clean=clean)
        except MachineDied:
            pass  # A host that has ended needs no release.
        finally:
            if self._owned is not None:
                self._owned.close()
            connection.close()

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release(clean=kind is None)

    def prepare_and_save(self, preparation: Preparation | None, progress: Progress) -> None:
        """Prepare a host that has booted cold, save its state and restore it from there."""
        if self.prepared or self._connection is None:
            return
        if preparation is not None:
            progress("preparing the host")
            preparation.run(self)
        process.run(self.ssh_argv(TIDY), timeout_sec=TIDY_SEC, check=False)
        self._update(
            self._connection.request("save", timeout_sec=client.SAVE_SEC, progress=progress)
        )


@dataclass
class SharedHandle:
    """A host for a run: its child processes lease it one after the other.

    ``environment`` goes into the environment of the children. The host ends with `close`, with
    the ``with`` block or with this process, unless it is the shared one.
    """

    environment: dict[str, str]
    label: str
    how: str
    owned: OwnedSupervisor | None

    def close(self) -> None:
        """End the host if it is the run's own."""
        if self.owned is not None:
            self.owned.close()
            self.owned = None

    def __enter__(self) -> SharedHandle:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


def quiet(text: str) -> None:
    """Drop a line of progress."""


def acquire(
    settings: Settings | None = None,
    *,
    preparation: Preparation | None = None,
    progress: Progress = quiet,
    private: bool = False,
) -> Lease:
    """Lease an embedded host in its clean state.

    Where this process belongs to a run (see `hold`), it gets the run's host; where a shared host
    is up and fits, that one; otherwise, and always with ``private``, a host of its own that ends
    with the lease or the process.

    Raises:
        HostBusy: the run's or the shared host is leased by another process.
        EmbeddedError: the image, QEMU or machine failed; the message says how.
    """
    settings = settings or Settings()
    config = resolve_config(settings, preparation.key if preparation else "", progress)
    for running in () if private else _candidate_hosts():
        other = difference(running.config, config)
        if not other:
            return lease_from(running, None, preparation, progress)
        progress(f"the host in {running.run_dir} has {other}; starting another one")
    check_memory()
    owned = client.start_supervisor(config, shared=False)
    return lease_from(owned.host, owned, preparation, progress)


def visit(run_dir: Path) -> Lease:
    """Return the way to a host that runs, without leasing it: beside whoever has the lease.

    For work on the very host of a notebook, in a terminal. Its release gives nothing back.

    Raises:
        MachineDied: no host runs there any more.
    """
    running = client.find_running(run_dir)
    if running is None:
        raise MachineDied(
            f"No embedded host runs in {run_dir}.",
            todo="`kvmlab host status` lists those that run; `kvmlab host up` starts one.",
        )
    connection = running.connect()
    try:
        return Lease(running, connection, connection.request("status"), visiting=True)
    except BaseException:
        connection.close()
        raise


def hold(
    settings: Settings | None = None,
    *,
    preparation: Preparation | None = None,
    progress: Progress = quiet,
    private: bool = False,
) -> SharedHandle:
    """Start a host for the child processes of this one, or find the shared one.

    With ``private`` it is always a host of its own.

    Raises:
        EmbeddedError: as for `acquire`.
    """
    lease = acquire(settings, preparation=preparation, progress=progress, private=private)
    owned, lease._owned = lease._owned, None
    lease.release()
    return SharedHandle({ENVIRONMENT: str(lease.run_dir)}, lease.label, lease.how, owned)


def ssh_argv(run_dir: Path, port: int, *command: str) -> tuple[str, ...]:
    """Return the ssh command to the host of ``run_dir``: host key pinned, no prompt."""
    options = {
        "IdentitiesOnly": "yes",
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": f'"{run_dir / KNOWN_HOSTS}"',
        "GlobalKnownHostsFile": "/dev/null",
        "ConnectTimeout": "20",
        "LogLevel": "ERROR",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    target = f"{Lease.user}@{Lease.address}"
    start = ("ssh", "-F", "none", "-i", str(Keys(run_dir).client), "-p", str(port))
    return (*start, *words, target, *command)


def lease_from(
    running: RunningHost,
    owned: OwnedSupervisor | None,
    preparation: Preparation | None,
    progress: Progress,
) -> Lease:
    """Lease ``running`` and prepare it where needed; on a failure nothing stays behind."""
    connection = None
    try:
        connection = running.connect()
        coordinates = connection.request(
            "lease",
            timeout_sec=client.LEASE_SEC,
            progress=progress,
            command=client.command_line(),
        )
        lease = Lease(running, connection, coordinates, owned)
        lease.prepare_and_save(preparation, progress)
    except BaseException as error:
        if isinstance(error, MachineDied | HostUnreachable) and owned is not None:
            error.evidence = error.evidence or owned.log_tail()
        # Ctrl-C included: a connection that closes gives the host back as dirty.
        if connection is not None:
            connection.close()
        if owned is not None:
            owned.close()
        raise
    return lease


def _candidate_hosts() -> list[RunningHost]:
    """Return the hosts to try before starting one: the run's, or the shared one."""
    run_dir = os.environ.get(ENVIRONMENT)
    if run_dir:
        running = client.find_running(Path(run_dir))
        if running is None:
            raise MachineDied(
                f"The embedded host of this run ({run_dir}) has ended.",
                todo=f"Start the run again, or unset {ENVIRONMENT}.",
            )
        return [running]
    return [running for running in client.running_hosts() if running.shared]
