"""Getting an embedded host: one's own, a run's, or the shared one; always clean, always let go."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from kvmlab import process
from kvmlab.clock import Clock
from kvmlab.embedded import client
from kvmlab.embedded.accel import Accel
from kvmlab.embedded.choosing import check_memory, choose, difference
from kvmlab.embedded.client import Connection, KeptHost, OwnedKeeper, Progress
from kvmlab.embedded.messages import to_error
from kvmlab.embedded.settings import Settings
from kvmlab.embedded.spec import KNOWN_HOSTS
from kvmlab.embedded.sshkeys import Keys
from kvmlab.errors import HostError, HostUnreachable, MachineDied

ENVIRONMENT = "KVMLAB_HOST"
TIDY_SEC = 60.0
# Zeros compress to nothing in a saved state, so what the lab host can free is made zeros first.
TIDY = "sync; echo 3 >/proc/sys/vm/drop_caches; echo 1 >/proc/sys/vm/compact_memory"


@dataclass(frozen=True)
class Preparation:
    """What is done to a freshly booted host before its state is saved.

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
        kept: KeptHost,
        connection: Connection,
        coordinates: Mapping[str, Any],
        owned: OwnedKeeper | None = None,
    ) -> None:
        spec = kept.spec
        self.run_dir = kept.run_dir
        self.key_path = spec.keys.client
        self.known_hosts = spec.known_hosts
        self.clock: Clock = spec.settings.clock
        self.accel: Accel = spec.accel
        self.qemu = str(spec.qemu)
        self.label = spec.label
        self.console_path = spec.console
        self.shared = owned is None
        self._kept = kept
        self._connection: Connection | None = connection
        self._owned = owned
        self._take(coordinates)

    def _take(self, coordinates: Mapping[str, Any]) -> None:
        self.port = int(coordinates["port"])
        self.how = str(coordinates["how"])
        self.up_sec = float(coordinates["up_sec"])
        self.prepared = bool(coordinates["prepared"])
        self.qemu_pid: int | None = coordinates.get("qemu_pid")

    def check(self) -> None:
        """Make sure that the host still runs; ask this when a command on it was cut off.

        Raises:
            MachineDied: it does not; the evidence is the end of its console.
        """
        if self._connection is None:
            raise HostError("This lease has been released.", todo="Acquire the host again.")
        died = self._connection.ask("status")["died"]
        if died:
            raise to_error(died)

    def ssh_argv(self, *command: str) -> tuple[str, ...]:
        """The ssh command line that reaches the host, for people and for one-off commands."""
        return ssh_argv(self.run_dir, self.port, *command)

    def release(self, *, clean: bool = True) -> None:
        """Let go of the host; one's own host ends with that. Twice is no error.

        ``clean`` says that everything done to it has been put back. Otherwise the next client
        gets it from its saved state.
        """
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            if self._owned is None:
                connection.ask("release", clean=clean)
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
        """After a cold boot: prepare the host, save its state, go on from there."""
        if self.prepared or self._connection is None:
            return
        if preparation is not None:
            progress("preparing the host")
            preparation.run(self)
        process.run(self.ssh_argv(TIDY), timeout_sec=TIDY_SEC, check=False)
        self._take(self._connection.ask("save", timeout_sec=client.SAVE_SEC, progress=progress))


@dataclass
class RunHost:
    """A host for a run: its child processes lease it one after the other.

    ``environment`` goes into the environment of the children. The host ends with `close`, with
    the ``with`` block or with this process, unless it is the shared one.
    """

    environment: dict[str, str]
    label: str
    how: str
    owned: OwnedKeeper | None

    def close(self) -> None:
        """End the host if it is the run's own."""
        if self.owned is not None:
            self.owned.close()
            self.owned = None

    def __enter__(self) -> RunHost:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


def quiet(text: str) -> None:
    """No progress is wanted."""


def acquire(
    settings: Settings | None = None,
    *,
    preparation: Preparation | None = None,
    progress: Progress = quiet,
) -> Lease:
    """Lease an embedded host in its clean state.

    Where this process belongs to a run (see `hold`), it gets the run's host; where a shared host
    is up and fits, that one; otherwise a host of its own that ends with the lease or the process.

    Raises:
        HostBusy: the run's or the shared host is leased by another process.
        EmbeddedError: the image, QEMU or machine failed; the message says how.
    """
    settings = settings or Settings()
    spec = choose(settings, preparation.key if preparation else "", progress)
    for kept in _given_hosts():
        other = difference(kept.spec, spec)
        if not other:
            return lease_from(kept, None, preparation, progress)
        progress(f"the host in {kept.run_dir} has {other}; starting another one")
    check_memory()
    owned = client.start_keeper(spec, shared=False)
    return lease_from(owned.kept, owned, preparation, progress)


def hold(
    settings: Settings | None = None,
    *,
    preparation: Preparation | None = None,
    progress: Progress = quiet,
) -> RunHost:
    """Start a host for the child processes of this one, or find the shared one.

    Raises:
        EmbeddedError: as for `acquire`.
    """
    lease = acquire(settings, preparation=preparation, progress=progress)
    owned, lease._owned = lease._owned, None
    lease.release()
    return RunHost({ENVIRONMENT: str(lease.run_dir)}, lease.label, lease.how, owned)


def ssh_argv(run_dir: Path, port: int, *command: str) -> tuple[str, ...]:
    """Reach the host of ``run_dir`` by ssh: with its key only, its host key pinned, no question."""
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
    kept: KeptHost,
    owned: OwnedKeeper | None,
    preparation: Preparation | None,
    progress: Progress,
) -> Lease:
    """Lease ``kept`` and see to it that it is prepared; on any failure nothing stays behind."""
    connection = None
    try:
        connection = kept.connect()
        coordinates = connection.ask(
            "lease",
            timeout_sec=client.LEASE_SEC,
            progress=progress,
            command=client.command_line(),
        )
        lease = Lease(kept, connection, coordinates, owned)
        lease.prepare_and_save(preparation, progress)
    except BaseException as error:
        if isinstance(error, MachineDied | HostUnreachable) and owned is not None:
            error.evidence = error.evidence or owned.last_words()
        # Ctrl-C included: a connection that closes gives the host back as dirty.
        if connection is not None:
            connection.close()
        if owned is not None:
            owned.close()
        raise
    return lease


def _given_hosts() -> list[KeptHost]:
    """Hosts that this process may use before it starts its own: the run's, then the shared one."""
    given = os.environ.get(ENVIRONMENT)
    if given:
        kept = client.find_kept(Path(given))
        if kept is None:
            raise MachineDied(
                f"The embedded host of this run ({given}) has ended.",
                todo=f"Start the run again, or unset {ENVIRONMENT}.",
            )
        return [kept]
    return [kept for kept in client.running_hosts() if kept.shared]
