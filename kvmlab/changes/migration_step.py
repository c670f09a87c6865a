"""Live migration as a step; its undo brings the VM home from wherever it was interrupted."""

from __future__ import annotations

import json
import shlex
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from lxml import etree

from kvmlab.changes.second_host import FOLDER, TRANSPORT, repair_second_host
from kvmlab.changes.steps import Step
from kvmlab.deadline import until
from kvmlab.domain import TestVM
from kvmlab.errors import (
    DomainNotFound,
    HostError,
    HostUnreachable,
    LibvirtFailed,
    StepFailed,
    Unavailable,
    UsageError,
)
from kvmlab.hosts import Host, libvirt_client, open_host, open_second_host
from kvmlab.stored_files import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator

_ACTIVE: Final = ("running", "idle", "paused", "in shutdown", "suspended")
_POLL_SEC: Final = 0.25
_SETTLE_SEC: Final = 60.0
_HOME_SEC: Final = 900.0
_REPAIR_SEC: Final = 120.0
_RESTART_SEC: Final = 30.0
_RECONNECT_SEC: Final = 1.0
_ROUNDS_BEFORE_POST_COPY: Final = 2
#: The libvirt whose daemon dereferences a null pointer of VIR_MIGRATE_POSTCOPY_RESUME.
_DIES_OF_RESUME: Final = 11_003
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
        """The virsh command."""
        words = ["virsh", "migrate", "--live", self.domain, self.destination]
        options = self.options
        words += ["--migrateuri", self.transport] if self.transport else []
        words += ["--bandwidth", str(options.bandwidth_mib)] if options.bandwidth_mib else []
        words += ["--auto-converge"] if options.auto_converge else []
        words += ["--postcopy", "--postcopy-after-precopy"] if options.post_copy else []
        if options.post_copy_bandwidth_mib:
            words += ["--postcopy-bandwidth", str(options.post_copy_bandwidth_mib)]
        if options.parallel:
            words += ["--parallel", "--parallel-connections", str(options.parallel)]
        return (shlex.join(words),)

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
            libvirt's reason. Or the deadline passed and the migration was cancelled.
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
            _call(vm, vm.handle.migrate3, there.libvirt, parameters, flags)
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
            thread.join(_POLL_SEC)
            if (on_progress is not None or switching) and thread.is_alive():
                job = _job(vm)
                switching = switching and not _switched_to_post_copy(vm, job)
                if on_progress is not None:
                    on_progress(job)
            if time.monotonic() > deadline and not cancelled:
                cancelled, progress = True, progress_text(_job(vm))
                _abort(vm)
    except BaseException:
        _abort(vm)
        raise
    for error in failures:
        if _broke_off_in_post_copy(vm):
            raise StepFailed(
                f"{vm.name} went on at {there.label}, and then post-copy broke off: a part of its "
                "memory had stayed behind.",
                todo="It comes home with all of it where both hosts still have their part.",
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


@contextmanager
def _downtime_limit(vm: TestVM, limit_ms: int | None) -> Iterator[None]:
    """Let QEMU stop the VM for ``limit_ms`` at most; where it stays, the limit is as before.

    QEMU keeps a limit that libvirt has set for as long as its process runs.
    """
    if limit_ms is None:
        yield
        return
    before = _call(vm, vm.handle.migrateGetMaxDowntime, 0)
    _call(vm, vm.handle.migrateSetMaxDowntime, limit_ms, 0)
    try:
        yield
    except BaseException:
        with suppress(HostError, DomainNotFound):
            _call(vm, vm.handle.migrateSetMaxDowntime, before, 0)
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
        _call(vm, vm.handle.migrateStartPostCopy, 0)
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
    xml = _call(vm, vm.handle.XMLDesc, library.VIR_DOMAIN_XML_MIGRATABLE)
    if options.preallocate or (options.preallocate is None and _has_team(xml)):
        parameters[library.VIR_MIGRATE_PARAM_DEST_XML] = preallocated(xml)
    return flags, parameters


def _has_team(xml: str) -> bool:
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


def bring_home(step: MigrateVm, host: Host) -> bool:
    """Let the step's VM run on ``host`` again, whatever has become of it; return False if it does.

    A migration under way is cancelled; one in post-copy, which cannot be, is led to its end. Of two
    copies, the one that has the state is kept: the destination's where it runs, else the source's.
    Where the destination has lost the VM, or post-copy one of the two hosts, it is started anew.

    Raises:
        StepFailed: it runs on neither host and cannot be started, or does not come home.
        HostUnreachable, HostRefused: the destination does not answer, and cannot be repaired.
    """
    try:
        home = _find_patiently(host, step.domain)
    except DomainNotFound:
        return False  # it was transient, and has ended
    in_post_copy = _is_in_post_copy(home)
    if not in_post_copy:
        _end_job(home)
    with _repaired_destination(step, host) as there:
        away = _find(there, step.domain) if there is not None else None
        if there is None or away is None:
            if in_post_copy:
                # What it has written since then was over there alone.
                _destroy(home)
            return _revive(home)
        if in_post_copy:
            _finish_post_copy(step, home, there)
        elif _misses_memory(away) and _state(home) not in _ACTIVE:
            # The memory that it waits for ended with the source.
            _destroy(away)
            return _revive(home)
        state, state_away = _state(home), _state(away)
        if state == "running" and state_away != "running":
            # The destination waited for a migration that has been cancelled.
            _destroy(away)
            return True
        if state == "paused":
            if state_away != "running":
                _destroy(away)
                home.resume()
                return True
            # It arrived, and nobody could tell the source any more.
            _destroy(home)
        if state_away == "gone":
            return _revive(home)
        if state_away == "paused":
            away.resume()
        _end_job(away)
        options = MigrationOptions(timeout_sec=_HOME_SEC)
        transport = f"{step.transport}.home" if step.transport else ""
        migrate(away, host, transport=transport, options=options)
    return True


def _is_in_post_copy(home: TestVM) -> bool:
    """Return whether the VM went on at the destination, and left a part of its memory here."""
    library = libvirt_client.library()
    reasons = (library.VIR_DOMAIN_PAUSED_POSTCOPY, library.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED)
    state, reason = _state_and_reason(home)
    return state == library.VIR_DOMAIN_PAUSED and reason in reasons


def _broke_off_in_post_copy(home: TestVM) -> bool:
    """Return the same of a migration that has failed; False where its host does not answer."""
    try:
        return _is_in_post_copy(home)
    except HostError:
        return False


def _misses_memory(away: TestVM) -> bool:
    """Return whether the VM runs at the destination without all of its memory: post-copy failed."""
    library = libvirt_client.library()
    failed = (library.VIR_DOMAIN_RUNNING, library.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED)
    return _state_and_reason(away) == failed


def _state_and_reason(vm: TestVM) -> tuple[int, int]:
    """Return libvirt's numbers of them; (-1, -1) for a domain that is gone."""
    try:
        state, reason = _call(vm, vm.handle.state)
    except DomainNotFound:
        return -1, -1
    return state, reason


def _finish_post_copy(step: MigrateVm, home: TestVM, there: Host) -> None:
    """Move the rest of the memory to the destination, where the VM runs already.

    Where it still moves, with nobody to wait for it, its end is waited for; where the connection
    was lost, it goes on over a new one.

    Raises:
        StepFailed: none of it has moved for a minute.
    """
    left, deadline = None, time.monotonic() + _SETTLE_SEC
    while _is_in_post_copy(home):
        reason = _reconnect(step, home, there) if step.transport else _resume(home, there)
        remaining = _job(home).get("memory_remaining")
        if remaining != left:
            left, deadline = remaining, time.monotonic() + _SETTLE_SEC
        elif time.monotonic() > deadline:
            raise StepFailed(
                f"The memory that {step.domain} left behind does not follow it to {there.label}.",
                todo="It runs there, and stops where it needs a page of that memory.",
                evidence=reason,
            )
        time.sleep(_RECONNECT_SEC)


def _resume(home: TestVM, there: Host) -> str:
    """Let libvirt go on with post-copy over a new connection; return why it does not."""
    library = libvirt_client.library()
    try:
        version = libvirt_client.call(there.libvirt.getLibVersion, host=there.label)
        if version // 1000 == _DIES_OF_RESUME:
            return f"The libvirtd of {there.label} is 11.3, which dies of such a request."
        flags = library.VIR_MIGRATE_LIVE | library.VIR_MIGRATE_POSTCOPY
        flags |= library.VIR_MIGRATE_POSTCOPY_RESUME
        _call(home, home.handle.migrate3, there.libvirt, {}, flags)
    except (HostError, DomainNotFound) as error:
        return error.message
    return ""


def _reconnect(step: MigrateVm, home: TestVM, there: Host) -> str:
    """Let both QEMUs meet anew where they met before; return why they do not.

    The destination's may not answer, where it waits for a page itself; as long as it still listens
    it needs no request.
    """
    reason = _qmp(home, "migrate", uri=step.transport.replace("unix://", "unix:"), resume=True)
    if reason:
        away = _find(there, step.domain)
        if away is not None and _misses_memory(away):
            _qmp(away, "migrate-recover", uri=step.transport.replace("unix://", "unix:"))
    return reason


def _qmp(vm: TestVM, name: str, **arguments: Any) -> str:
    """Give a command to the VM's QEMU; return its error, "" where there is none."""
    import libvirt_qemu

    command = json.dumps({"execute": name, "arguments": arguments})
    try:
        answer = _call(vm, libvirt_qemu.qemuMonitorCommand, vm.handle, command, 0)
    except (HostError, DomainNotFound) as error:
        return error.message
    return str(parse_json(answer).get("error", {}).get("desc", ""))


@contextmanager
def _repaired_destination(step: MigrateVm, host: Host) -> Iterator[Host | None]:
    """Open the destination; None for a second host that is gone altogether."""
    if step.second_host:
        exists = host.run(("test", "-d", FOLDER), timeout_sec=60, check=False, root=True)
        if exists.returncode != 0:
            yield None
            return
        command = repair_second_host()
        host.run(command.argv, timeout_sec=_REPAIR_SEC, input_text=command.input_text, root=True)
    with destination_of(step, host) as there:
        yield there


def _revive(home: TestVM) -> bool:
    if home.state in ("running", "idle"):
        return False
    # From a pause it goes on; from nothing it begins anew.
    home.start()
    return True


def _find_patiently(host: Host, name: str) -> TestVM:
    """Find the domain, also where libvirt is just being started again.

    Raises:
        DomainNotFound: libvirt answers, and does not know it.
        HostUnreachable, Unavailable: no answer for half a minute.
    """
    deadline = time.monotonic() + _RESTART_SEC
    while True:
        try:
            return TestVM.find(host, name)
        except (HostUnreachable, Unavailable):
            if time.monotonic() > deadline:
                raise
        time.sleep(_POLL_SEC)


def _find(host: Host, name: str) -> TestVM | None:
    """Return the active domain of that name."""
    try:
        vm = TestVM.find(host, name)
    except DomainNotFound:
        return None
    return vm if _state(vm) in _ACTIVE else None


def _state(vm: TestVM) -> str:
    """Return the domain's state; "gone" for one that has just ended and left no definition."""
    try:
        return vm.state
    except DomainNotFound:
        return "gone"


def _destroy(vm: TestVM) -> None:
    try:
        _call(vm, vm.handle.destroy)
    except DomainNotFound:
        return


def _end_job(vm: TestVM) -> None:
    """Cancel a migration that nobody waits for any more, and wait for its end."""
    library = libvirt_client.library()

    def no_job() -> bool:
        kind = _job(vm).get("type", library.VIR_DOMAIN_JOB_NONE)
        if kind == library.VIR_DOMAIN_JOB_NONE:
            return True
        _abort(vm)
        return False

    if _state(vm) in _ACTIVE:
        until(
            no_job,
            timeout_sec=_SETTLE_SEC,
            every_sec=_POLL_SEC,
            what=f"The end of the migration of {vm.name}",
            error=StepFailed,
        )


def _job(vm: TestVM) -> Mapping[str, Any]:
    try:
        job: Mapping[str, Any] = _call(vm, vm.handle.jobStats, 0)
    except (LibvirtFailed, DomainNotFound):
        return {}
    return job


def _abort(vm: TestVM) -> None:
    try:
        _call(vm, vm.handle.abortJob)
    except (LibvirtFailed, DomainNotFound, HostUnreachable):
        return  # it has just ended


def _stats(*vms: TestVM) -> MigrationStats:
    """Return the figures of the finished migration: at the destination, or where it has none.

    After post-copy the source alone has them, and only of a VM that is still defined there.
    """
    library = libvirt_client.library()
    job: Mapping[str, Any] = {}
    for vm in vms:
        if not job.get("time_elapsed"):
            with suppress(LibvirtFailed, DomainNotFound):
                job = _call(vm, vm.handle.jobStats, library.VIR_DOMAIN_JOB_STATS_COMPLETED)
    return MigrationStats(
        elapsed_ms=int(job.get("time_elapsed", 0)),
        downtime_ms=int(job.get("downtime", 0)),
        setup_ms=int(job.get("setup_time", 0)),
        transferred_bytes=int(job.get("data_processed", 0)),
        rounds=int(job.get("memory_iteration", 0)),
        raw=dict(job),
    )


def _call(vm: TestVM, function: Callable[..., Any], *args: Any) -> Any:
    return libvirt_client.call(function, *args, what=f"migrate {vm.name}", host=vm.host.label)
