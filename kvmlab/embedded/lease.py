"""Getting an embedded host: one's own, a run's, or the shared one; always clean, always let go."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from kvmlab import process
from kvmlab.clock import Clock
from kvmlab.embedded import client, paths
from kvmlab.embedded.accel import Accel, choose_accel
from kvmlab.embedded.client import Connection, KeptHost, OwnedKeeper, Progress
from kvmlab.embedded.image import Image, build_image
from kvmlab.embedded.messages import to_error
from kvmlab.embedded.qemu import find_qemu
from kvmlab.embedded.settings import Settings, available_memory_mib
from kvmlab.embedded.spec import KNOWN_HOSTS, Spec
from kvmlab.embedded.sshkeys import Keys
from kvmlab.errors import (
    EmbeddedError,
    HostError,
    KvmlabError,
    MachineDied,
    Unavailable,
    UsageError,
)

ENVIRONMENT = "KVMLAB_HOST"
NEEDED_MEMORY_MIB = 1200
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
    ``label`` tell what the host is; ``how`` tells how it came up; ``shared`` whether it outlives
    this lease; ``console_path`` is the log of its serial console.
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


def _quiet(text: str) -> None:
    pass


def acquire(
    settings: Settings | None = None,
    *,
    preparation: Preparation | None = None,
    progress: Progress = _quiet,
) -> Lease:
    """Lease an embedded host in its clean state.

    Where this process belongs to a run (see `hold`), it gets the run's host; where a shared host
    is up and fits, that one; otherwise a host of its own that ends with the lease or the process.

    Raises:
        HostBusy: the run's or the shared host is leased by another process.
        EmbeddedError: the image, QEMU or machine failed; the message says how.
    """
    settings = settings or Settings()
    spec = _spec(settings, preparation, progress)
    for kept in _given_hosts():
        difference = _difference(kept.spec, spec, settings)
        if not difference:
            return _lease(kept, None, preparation, progress)
        progress(f"the host in {kept.run_dir} has {difference}; starting another one")
    _check_memory()
    owned = client.start_keeper(spec, shared=False)
    return _lease(owned.kept, owned, preparation, progress)


def hold(
    settings: Settings | None = None,
    *,
    preparation: Preparation | None = None,
    progress: Progress = _quiet,
) -> RunHost:
    """Start a host for the child processes of this one, or find the shared one.

    Raises:
        EmbeddedError: as for `acquire`.
    """
    lease = acquire(settings, preparation=preparation, progress=progress)
    owned, lease._owned = lease._owned, None
    lease.release()
    return RunHost({ENVIRONMENT: str(lease.run_dir)}, lease.label, lease.how, owned)


def up(
    settings: Settings | None = None,
    *,
    preparation: Preparation | None = None,
    progress: Progress = _quiet,
) -> dict[str, Any]:
    """Start the shared host, which lasts until `down` or a long idle time; returns its status.

    A shared host that is up already and fits is left as it is.

    Raises:
        UsageError: the shared host that is up was started with other settings.
        EmbeddedError: as for `acquire`.
    """
    settings = settings or Settings()
    spec = _spec(settings, preparation, progress)
    for kept in client.running_hosts():
        if not kept.shared:
            continue
        difference = _difference(kept.spec, spec, settings)
        if difference:
            raise UsageError(
                f"The shared host that is up has {difference}.",
                todo="End it first with `kvmlab host down`.",
            )
        progress("the shared host is up already")
        return describe(kept)
    _check_memory()
    owned = client.start_keeper(spec, shared=True)
    lease = _lease(owned.kept, owned, preparation, progress)
    try:
        lease._owned = None
        lease.release()
        owned.detach()
    except BaseException:
        owned.close()
        raise
    return describe(owned.kept)


def down(*, everything: bool = False) -> list[str]:
    """End the shared host, or ``everything``; returns the run directories of those that ended.

    Raises:
        EmbeddedError: one did not end.
    """
    ended = []
    for kept in client.running_hosts():
        if kept.shared or everything:
            end(kept)
            ended.append(str(kept.run_dir))
    return ended


def end(kept: KeptHost) -> None:
    """End a host and wait until nothing is left of it."""
    # It may go before it can answer; what counts is that it is gone.
    with contextlib.suppress(MachineDied, HostError):
        kept.ask("stop")
    deadline = time.monotonic() + client.END_SEC
    while kept.run_dir.exists():
        if time.monotonic() > deadline:
            raise EmbeddedError(
                f"The host in {kept.run_dir} did not end within {client.END_SEC:g} s.",
                todo=f"Kill its keeper: `fuser -k {kept.run_dir}/lock`.",
            )
        client.running_hosts()
        time.sleep(0.05)


def status() -> list[dict[str, Any]]:
    """All embedded hosts of this user that run, the shared one first."""
    return [describe(kept) for kept in client.running_hosts()]


def describe(kept: KeptHost) -> dict[str, Any]:
    """One running host, as told by its keeper."""
    spec = kept.spec
    try:
        told = kept.ask("status")
    except KvmlabError as error:
        told = {"error": error.message}
    return {
        "run_dir": str(kept.run_dir),
        "shared": kept.shared,
        "label": spec.label,
        "clock": spec.settings.clock.value,
        "accel": spec.accel.name,
        "accel_reason": spec.accel.reason,
        "qemu": str(spec.qemu),
        "image": spec.image_hash,
        "memory_mib": spec.settings.memory_mib,
        "cpus": spec.settings.cpus_used,
        "owner_pid": spec.owner_pid,
        "owner": spec.owner,
        "console": str(spec.console),
        "key": str(spec.keys.client),
        "known_hosts": str(spec.known_hosts),
        **told,
    }


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


def _lease(
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
    except BaseException:
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


def _spec(settings: Settings, preparation: Preparation | None, progress: Progress) -> Spec:
    if settings.clock is Clock.VIRTUAL and settings.qemu is None:
        raise Unavailable(
            "The virtual clock needs a QEMU with a correction that released ones lack: with them "
            "the test VM hangs.",
            rule="virtual-clock-qemu",
            todo="Use the wall clock, or give a corrected QEMU.",
        )
    image: Image = build_image(progress)
    qemu = find_qemu(image.path, settings.qemu)
    return Spec(
        run_dir=Path(),
        states=paths.states_dir(),
        images=image.path.parent,
        image=image.path,
        image_hash=image.recipe_hash,
        qemu=qemu,
        accel=choose_accel(settings, qemu, image.path),
        settings=settings,
        preparation=preparation.key if preparation is not None else "",
        owner_pid=os.getpid(),
        owner=client.command_line(),
    )


def _difference(found: Spec, wanted: Spec, settings: Settings) -> str:
    """In what a running host is not the one that is wanted; nothing where it is."""
    pairs = {
        "image": (found.image_hash, wanted.image_hash),
        "preparation": (found.preparation, wanted.preparation),
        "clock": (found.settings.clock, wanted.settings.clock),
        "accelerator": (found.accel.name, wanted.accel.name),
        "memory": (found.settings.memory_mib, wanted.settings.memory_mib),
        "number of CPUs": (found.settings.cpus_used, wanted.settings.cpus_used),
        "QEMU": (found.qemu.digest, wanted.qemu.digest),
    }
    return ", ".join(f"another {name}" for name, (one, other) in pairs.items() if one != other)


def _check_memory() -> None:
    available = available_memory_mib()
    if available < NEEDED_MEMORY_MIB:
        raise EmbeddedError(
            f"This machine has {available} MiB of memory available; the embedded host needs about "
            f"{NEEDED_MEMORY_MIB} MiB.",
            todo="End other programs, or another embedded host (`kvmlab host status`).",
        )
