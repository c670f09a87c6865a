"""Live migration as a step, and the migration itself; `migration_undo` is its undo."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from lxml import etree

from kvmlab.changes.migration_calls import (
    ACTIVE,
    POLL_SEC,
    abort_job,
    call,
    is_in_post_copy,
    job_of,
    state_of,
)
from kvmlab.changes.second_host import FOLDER, TRANSPORT
from kvmlab.changes.steps import Step
from kvmlab.domain import TestVM
from kvmlab.errors import DomainNotFound, HostError, LibvirtFailed, StepFailed, UsageError
from kvmlab.hosts import Host, libvirt_client, open_host, open_second_host

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROUNDS_BEFORE_POST_COPY: Final = 2
_MIB: Final = 1 << 20
_TOO_SLOW: Final = (
    "The VM runs where it was. Where it writes faster than memory moves, pre-copy has no end: "
    "give it more bandwidth, a longer downtime limit, auto-converge or post-copy."
)


@dataclass(frozen=True)
class MigrationOptions:
    """Options of a live migration, as libvirt has them; None leaves libvirt's default.

    ``preallocate`` lets the destination take all of the VM's memory before anything moves. A VF
    pins it; without this that happens while the VM stands still. None: where the VM has a VF in a
    team. ``bandwidth_mib`` is for pre-copy; what follows a VM that runs at the destination already
    has a limit of its own, ``post_copy_bandwidth_mib``.

    Raises:
        UsageError: a number is not above 0.
    """

    bandwidth_mib: int | None = None
    downtime_ms: int | None = None
    auto_converge: bool = False
    post_copy: bool = False
    post_copy_bandwidth_mib: int | None = None
    parallel: int | None = None
    preallocate: bool | None = None
    timeout_sec: float = 600.0

    def __post_init__(self) -> None:
        numbers = ("bandwidth_mib", "downtime_ms", "post_copy_bandwidth_mib", "parallel")
        for name in (*numbers, "timeout_sec"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise UsageError(f"{name}={value:g} is no option of a migration.", todo="Above 0.")

    def __str__(self) -> str:
        texts = [
            f"at most {self.bandwidth_mib} MiB/s" if self.bandwidth_mib else "",
            f"downtime limit {self.downtime_ms} ms" if self.downtime_ms else "",
            "auto-converge" if self.auto_converge else "",
            "post-copy" if self.post_copy else "",
            f"at most {self.post_copy_bandwidth_mib} MiB/s in post-copy"
            if self.post_copy_bandwidth_mib
            else "",
            f"multifd, {self.parallel} connections" if self.parallel else "",
        ]
        return ", ".join(filter(None, texts))


@dataclass(frozen=True)
class MigrationStats:
    """Figures of libvirt for a finished migration; times in ms of the hosts' clock."""

    elapsed_ms: int
    downtime_ms: int
    setup_ms: int
    transferred_bytes: int
    rounds: int
    raw: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        return asdict(self)


@dataclass(frozen=True)
class MigrateVm(Step):
    """Moves a running VM to another host; its undo moves it back.

    ``destination`` is a libvirt URI, or the name of the ``second_host`` inside this one.
    """

    kind: ClassVar[str] = "migrate"
    domain: str
    destination: str
    second_host: bool = False
    options: MigrationOptions = MigrationOptions()

    @property
    def transport(self) -> str:
        """The URI over which the two QEMUs talk; "" leaves it to libvirt."""
        return TRANSPORT if self.second_host else ""

    @property
    def before(self) -> str:
        """The VM runs here."""
        return f"{self.domain} runs here"

    @property
    def after(self) -> str:
        """The VM runs there."""
        return f"{self.domain} runs on {self.destination}"

    @property
    def do_text(self) -> tuple[str, ...]:
        """The virsh commands."""
        options = self.options
        limit = ["virsh", "migrate-setmaxdowntime", self.domain, str(options.downtime_ms)]
        words = ["virsh", "migrate", "--live", self.domain, self.destination]
        words += ["--migrateuri", self.transport] if self.transport else []
        words += ["--bandwidth", str(options.bandwidth_mib)] if options.bandwidth_mib else []
        words += ["--auto-converge"] if options.auto_converge else []
        words += ["--postcopy", "--postcopy-after-precopy"] if options.post_copy else []
        if options.post_copy_bandwidth_mib:
            words += ["--postcopy-bandwidth", str(options.post_copy_bandwidth_mib)]
        if options.parallel:
            words += ["--parallel", "--parallel-connections", str(options.parallel)]
        words += ["--xml", f"{self.domain}-preallocated.xml"] if options.preallocate else []
        command = shlex.join(words)
        return (shlex.join(limit), command) if options.downtime_ms else (command,)

    @property
    def undo_text(self) -> tuple[str, ...]:
        """The virsh command, to be given on the other host."""
        return (
            f"virsh -c {shlex.quote(self.destination)} migrate --live "
            f"{shlex.quote(self.domain)} qemu:///system   (this host, as seen from there)",
        )


@contextmanager
def destination_of(step: MigrateVm, host: Host) -> Iterator[Host]:
    """Open the destination of a migration for the block.

    Raises:
        HostUnreachable, HostRefused: it does not answer.
    """
    if step.second_host:
        there = open_second_host(host, FOLDER, label=step.destination)
    else:
        there = open_host(step.destination, allows_changes=host.allows_changes)
    with there:
        yield there


def migrate(
    vm: TestVM,
    there: Host,
    *,
    transport: str,
    options: MigrationOptions,
    on_progress: Callable[[Mapping[str, Any]], None] | None = None,
) -> MigrationStats:
    """Migrate the running ``vm`` to the host ``there``, and wait for it.

    ``on_progress`` gets libvirt's figures of the running job, a few times a second.

    Raises:
        StepFailed: libvirt refused or gave up; the VM runs where it was, and the evidence is
            libvirt's reason. Or the deadline passed and the migration was cancelled. In post-copy
            that broke off it runs nowhere until `migration_undo.bring_home`.
    """
    flags, parameters = _arguments(vm, transport, options)
    with _downtime_limit(vm, options.downtime_ms):
        _await_arrival(vm, there, parameters, flags, options, on_progress)
    return _stats(TestVM.find(there, vm.name), vm)


def _await_arrival(
    vm: TestVM,
    there: Host,
    parameters: Mapping[str, Any],
    flags: int,
    options: MigrationOptions,
    on_progress: Callable[[Mapping[str, Any]], None] | None,
) -> None:
    """Make libvirt's call in a thread, and watch it. Raises as `migrate` does."""
    failures: list[HostError | DomainNotFound] = []
    arrived = threading.Event()

    def work() -> None:
        try:
            call(vm, vm.handle.migrate3, there.libvirt, parameters, flags)
        except (HostError, DomainNotFound) as error:
            failures.append(error)
        else:
            arrived.set()

    thread = threading.Thread(target=work, name="kvmlab-migrate", daemon=True)
    deadline = time.monotonic() + options.timeout_sec
    thread.start()
    cancelled, progress = False, ""
    switching = options.post_copy
    try:
        while thread.is_alive():
            thread.join(POLL_SEC)
            if (on_progress is not None or switching) and thread.is_alive():
                job = job_of(vm)
                switching = switching and not _switched_to_post_copy(vm, job)
                if on_progress is not None:
                    on_progress(job)
            if time.monotonic() > deadline and not cancelled:
                cancelled, progress = True, progress_text(job_of(vm))
                abort_job(vm)
    except BaseException:
        abort_job(vm)
        raise
    for error in failures:
        if options.post_copy and not switching and _broke_off(vm):
            raise StepFailed(
                f"{vm.name} went on at {there.label}, and then post-copy broke off: a part of its "
                "memory had stayed behind.",
                todo="It has come home with all of its memory.",
                evidence=error.message,
            ) from error
        late = f" within {options.timeout_sec:g} s and was cancelled" if cancelled else ""
        raise StepFailed(
            f"{vm.name} did not migrate to {there.label}{late}.",
            todo=_TOO_SLOW if progress else "The VM runs where it was. Look at the reason below.",
            evidence=f"{error.message}\n{progress}".strip(),
        ) from error
    if not arrived.is_set():
        raise StepFailed(
            f"The call that migrated {vm.name} to {there.label} ended without an answer.",
            todo="The reason is printed above. `kvmlab restore` finds the VM and brings it home.",
        )


def _broke_off(home: TestVM) -> bool:
    """Return whether the VM went on at the destination; False where its host does not answer."""
    try:
        return is_in_post_copy(home) or state_of(home) not in ACTIVE
    except HostError:
        return False


@contextmanager
def _downtime_limit(vm: TestVM, limit_ms: int | None) -> Iterator[None]:
    """Let QEMU stop the VM for ``limit_ms`` at most; where it stays, the limit is as before.

    QEMU keeps a limit that libvirt has set for as long as its process runs.
    """
    if limit_ms is None:
        yield
        return
    before = call(vm, vm.handle.migrateGetMaxDowntime, 0)
    call(vm, vm.handle.migrateSetMaxDowntime, limit_ms, 0)
    try:
        yield
    except BaseException:
        with suppress(HostError, DomainNotFound):
            call(vm, vm.handle.migrateSetMaxDowntime, before, 0)
        raise


def progress_text(job: Mapping[str, Any]) -> str:
    """Return how far pre-copy has come by libvirt's figures of it, "" before its second round."""
    rounds = int(job.get("memory_iteration", 0))
    if rounds < _ROUNDS_BEFORE_POST_COPY:
        return ""
    left = int(job.get("memory_remaining", 0)) / _MIB
    page = int(job.get("memory_page_size", 4096))
    written = int(job.get("memory_dirty_rate", 0)) * page / _MIB
    moved = int(job.get("memory_bps", 0)) / _MIB
    return (
        f"In round {rounds} {left:.0f} MiB were left: the VM wrote {written:.0f} MiB/s, and "
        f"{moved:.0f} MiB/s moved."
    )


def _switched_to_post_copy(vm: TestVM, job: Mapping[str, Any]) -> bool:
    """Move the VM to the destination once all of its memory was copied once; return if it went."""
    if int(job.get("memory_iteration", 0)) < _ROUNDS_BEFORE_POST_COPY:
        return False
    try:
        call(vm, vm.handle.migrateStartPostCopy, 0)
    except (LibvirtFailed, DomainNotFound):
        return False  # not yet, or it has arrived already
    return True


def _arguments(vm: TestVM, transport: str, options: MigrationOptions) -> tuple[int, dict[str, Any]]:
    """Return the flags and typed parameters of libvirt's call."""
    library = libvirt_client.library()
    flags = library.VIR_MIGRATE_LIVE
    flags |= library.VIR_MIGRATE_AUTO_CONVERGE if options.auto_converge else 0
    flags |= library.VIR_MIGRATE_POSTCOPY if options.post_copy else 0
    flags |= library.VIR_MIGRATE_PARALLEL if options.parallel else 0
    parameters: dict[str, Any] = {}
    if transport:
        parameters[library.VIR_MIGRATE_PARAM_URI] = transport
    if options.bandwidth_mib is not None:
        parameters[library.VIR_MIGRATE_PARAM_BANDWIDTH] = options.bandwidth_mib
    if options.post_copy_bandwidth_mib is not None:
        limit = options.post_copy_bandwidth_mib
        parameters[library.VIR_MIGRATE_PARAM_BANDWIDTH_POSTCOPY] = limit
    if options.parallel is not None:
        parameters[library.VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS] = options.parallel
    xml = call(vm, vm.handle.XMLDesc, library.VIR_DOMAIN_XML_MIGRATABLE)
    if options.preallocate or (options.preallocate is None and has_team(xml)):
        parameters[library.VIR_MIGRATE_PARAM_DEST_XML] = preallocated(xml)
    return flags, parameters


def has_team(xml: str) -> bool:
    """Return whether a domain has a VF that stands in one team with another NIC."""
    return etree.fromstring(xml).find("devices/interface/teaming[@type='transient']") is not None


def preallocated(xml: str) -> str:
    """Return a domain's XML, with its memory taken when its QEMU starts."""
    node = etree.fromstring(xml)
    backing = node.find("memoryBacking")
    if backing is None:
        backing = etree.Element("memoryBacking")
        memory = node.find("currentMemory")
        anchor = memory if memory is not None else node.find("memory")
        assert anchor is not None
        anchor.addnext(backing)
    if backing.find("allocation") is None:
        etree.SubElement(backing, "allocation", mode="immediate")
    return etree.tostring(node, encoding="unicode")


def _stats(*vms: TestVM) -> MigrationStats:
    """Return the figures of the finished migration: at the destination, or where it has none.

    After post-copy the source alone has them, and only of a VM that is still defined there.
    """
    library = libvirt_client.library()
    job: Mapping[str, Any] = {}
    for vm in vms:
        if not job.get("time_elapsed"):
            with suppress(LibvirtFailed, DomainNotFound):
                job = call(vm, vm.handle.jobStats, library.VIR_DOMAIN_JOB_STATS_COMPLETED)
    return MigrationStats(
        elapsed_ms=int(job.get("time_elapsed", 0)),
        downtime_ms=int(job.get("downtime", 0)),
        setup_ms=int(job.get("setup_time", 0)),
        transferred_bytes=int(job.get("data_processed", 0)),
        rounds=int(job.get("memory_iteration", 0)),
        raw=dict(job),
    )
