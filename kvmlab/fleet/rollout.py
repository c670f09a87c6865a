"""A rollout: one job for each host, canaries first, stopped after too many failures, resumable.

The jobs run on dask workers: a local cluster in this process, or any scheduler by its address. The
folder of a rollout holds ``fleet.json`` (the command and its hosts), ``outcomes.jsonl`` (a line for
each host as it ends) and ``hosts/NAME/`` with the files that each job wrote.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kvmlab.directories import write_atomically
from kvmlab.errors import UsageError, reason_of
from kvmlab.fleet.host_job import HostJob, HostOutcome, Status, unpack
from kvmlab.fleet.inventory import FleetHost
from kvmlab.hosts.host import CONFIRM_WITHIN_SEC
from kvmlab.scheduler import connected
from kvmlab.stored_files import checked_name, is_present, origin, parse_json, read_file

if TYPE_CHECKING:
    from distributed import Client, Future

RECORD: Final = "fleet.json"
OUTCOMES: Final = "outcomes.jsonl"
FORMAT: Final = 1
_CONNECT_SEC: Final = 20
_ASK_SEC: Final = 120.0


@dataclass(frozen=True)
class FleetRecord:
    """The command of a rollout, its hosts, and the outcome of each so far."""

    folder: Path
    command: tuple[str, ...]
    hosts: tuple[str, ...]
    outcomes: Mapping[str, HostOutcome] = field(default_factory=dict)
    started: str = ""
    ended: str = ""
    stopped: str = ""

    @property
    def waiting(self) -> tuple[str, ...]:
        """Hosts that still need a job: those without an outcome, or with a failed one."""
        return tuple(
            name for name in self.hosts if name not in self.outcomes or self.outcomes[name].failed
        )

    def folder_of(self, host: str) -> Path:
        """Return the folder of the files that a host's job wrote."""
        return self.folder / "hosts" / host

    def with_outcome(self, outcome: HostOutcome) -> FleetRecord:
        """Return the record with one host's outcome, without the bytes it brought back."""
        return replace(
            self, outcomes={**self.outcomes, outcome.host: replace(outcome, archive=b"")}
        )

    def write(self) -> None:
        """Write ``fleet.json`` in one step."""
        document = {
            "format": FORMAT,
            "command": self.command,
            "hosts": self.hosts,
            "started": self.started,
            "ended": self.ended,
            "stopped": self.stopped,
        }
        text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        write_atomically(self.folder / RECORD, text)

    def append(self, host: str) -> None:
        """Add one host's outcome to ``outcomes.jsonl``: one line, on disk before the next one."""
        entry = asdict(self.outcomes[host])
        del entry["archive"]
        line = json.dumps(entry, ensure_ascii=False)
        with (self.folder / OUTCOMES).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())


def load_record(folder: Path) -> FleetRecord:
    """Return the record of an earlier rollout; a last line that was cut short is left out.

    Raises:
        UsageError: the folder holds none that can be read.
    """
    path = folder / RECORD
    foreign = origin(folder, "")
    if foreign:
        raise UsageError(
            f"The rollout in {folder} is not yours: {foreign}.",
            todo="Start one of your own with `kvmlab fleet run`.",
        )
    try:
        document = parse_json(read_file(folder, RECORD))
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']!r}, not {FORMAT}")
        record = FleetRecord(
            folder=folder.absolute(),
            command=tuple(map(str, document["command"])),
            hosts=tuple(map(checked_name, document["hosts"])),
            started=str(document["started"]),
            ended=str(document["ended"]),
            stopped=str(document["stopped"]),
        )
        lines = read_file(folder, OUTCOMES) if is_present(folder, OUTCOMES) else ""
        for line in lines.split("\n")[:-1]:
            entry = parse_json(line)
            record = record.with_outcome(
                HostOutcome(**{**entry, "status": Status(entry["status"])})
            )
        return record
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{path} cannot be read as the record of a rollout: {reason_of(error)}.",
            todo="Give the folder that `kvmlab fleet run` named to --resume.",
        ) from error


@dataclass(frozen=True)
class Rollout:
    """Schedule of a fleet's jobs.

    ``canary`` hosts run first, one at a time; a failure among them ends the rollout.
    ``max_failures`` is the number of failed hosts after which no further job starts (0: never).
    ``scheduler`` is the address of a dask scheduler; without one, ``jobs`` run at a time here.
    """

    jobs: int = 4
    scheduler: str = ""
    canary: int = 1
    max_failures: int = 3

    def __post_init__(self) -> None:
        if self.jobs < 1 or self.canary < 0 or self.max_failures < 0:
            raise UsageError(
                f"A rollout with {self.jobs} jobs, {self.canary} canaries and a limit of "
                f"{self.max_failures} failures makes no sense.",
                todo="Use at least one job, and numbers from 0 on for --canary and --max-failures.",
            )

    def run(
        self,
        record: FleetRecord,
        jobs: Mapping[str, HostJob],
        *,
        on_outcome: Callable[[HostOutcome], None] = lambda outcome: None,
        work: Callable[[HostJob, Callable[[], bool]], HostOutcome] = HostJob.run,
    ) -> FleetRecord:
        """Run the jobs of all waiting hosts and return the record with their outcomes.

        The record is on disk after each host. On Ctrl-C, SIGTERM or SIGHUP no further job starts,
        and running ones get SIGTERM, on which `kvmlab` restores its host.

        Raises:
            HostUnreachable: the scheduler does not answer.
        """
        record = replace(record, started=record.started or _now(), ended="", stopped="")
        record.write()
        waiting = list(record.waiting)
        failures = 0
        with self._client() as client, _interruptible(client) as interruption:
            threads = max(1, sum(client.nthreads().values()))

            def submit(name: str) -> Future[HostOutcome]:
                key = f"kvmlab-{interruption.run}-{name}"
                return client.submit(
                    _once, work, jobs[name], key, interruption.run, key=key, pure=False, retries=0
                )

            waves = ((waiting[: self.canary], 1), (waiting[self.canary :], threads))
            for number, (wave, at_once) in enumerate(waves):
                pool = _Pool(wave, at_once, submit)
                for outcome in pool:
                    record = self._store(record, outcome)
                    on_outcome(record.outcomes[outcome.host])
                    failures += record.outcomes[outcome.host].failed
                    reason = interruption.reason or self._reason_to_stop(failures, number == 0)
                    if reason and not record.stopped:
                        record = replace(record, stopped=reason)
                        pool.start_no_more()
                if record.stopped:
                    break
        if record.stopped:
            for name in record.hosts:
                if name not in record.outcomes:
                    skipped = HostOutcome(name, Status.SKIPPED, message=record.stopped)
                    record = self._store(record, skipped)
        record = replace(record, ended=_now())
        record.write()
        return record

    def ask_lost_hosts(
        self,
        record: FleetRecord,
        hosts: Mapping[str, FleetHost],
        *,
        work: Callable[[HostJob, Callable[[], bool]], HostOutcome] = HostJob.run,
    ) -> FleetRecord:
        """Ask each host whose job never ended well what is left there, and note its answer.

        Nothing is changed. Those are the hosts that were left to their journal and to their
        rollback timer, by which a host undoes what nobody confirms.

        Raises:
            HostUnreachable: the scheduler does not answer.
        """
        lost = [name for name, outcome in record.outcomes.items() if outcome.may_be_changed]
        if not lost:
            return record
        with self._client() as client:
            futures = {
                name: client.submit(
                    work,
                    HostJob(
                        hosts[name],
                        ("restore", "--dry-run", "--json", "--host", hosts[name].uri),
                        timeout_sec=_ASK_SEC,
                    ),
                    _never,
                    key=f"kvmlab-{uuid.uuid4().hex[:12]}-{name}",
                    pure=False,
                )
                for name in lost
            }
            for name, future in futures.items():
                outcome = record.outcomes[name]
                answer = _remains(_outcome_of(future, name), hosts[name].uri)
                record = record.with_outcome(
                    replace(outcome, message=f"{outcome.message}\n{answer}".strip())
                )
                record.append(name)
        record.write()
        return record

    def _reason_to_stop(self, failures: int, is_canary: bool) -> str:
        if is_canary and failures:
            return "A canary failed, so no further host was touched."
        if self.max_failures and failures >= self.max_failures:
            return f"{failures} hosts failed, so no further host was touched."
        return ""

    def _store(self, record: FleetRecord, outcome: HostOutcome) -> FleetRecord:
        if outcome.archive:
            try:
                unpack(outcome.archive, _free_folder(record.folder_of(outcome.host)))
            except UsageError as error:
                text = f"{outcome.message}\n{error.message}".strip()
                outcome = replace(outcome, status=Status.FAILED, message=text)
        record = record.with_outcome(outcome)
        record.append(outcome.host)
        return record

    def _client(self) -> contextlib.AbstractContextManager[Client]:
        # A job is never done twice: the host of a worker that died is left as it is.
        return connected(
            self.scheduler, self.jobs, settings={"distributed.scheduler.allowed-failures": 0}
        )


class _Pool:
    """Jobs of one wave: ``at_once`` of them run, and as one ends the next one starts."""

    def __init__(
        self, names: Sequence[str], at_once: int, submit: Callable[[str], Future[HostOutcome]]
    ) -> None:
        self._queue = deque(names)
        self._at_once = at_once
        self._submit = submit
        self._names: dict[str, str] = {}

    def start_no_more(self) -> None:
        """Start no further job; those that run still yield their outcomes."""
        self._queue.clear()

    def __iter__(self) -> Iterator[HostOutcome]:
        from distributed import as_completed

        running = as_completed([self._next() for _ in range(min(self._at_once, len(self._queue)))])
        for future in running:
            yield _outcome_of(future, self._names[str(future.key)])
            if self._queue:
                running.add(self._next())

    def _next(self) -> Future[HostOutcome]:
        name = self._queue.popleft()
        future = self._submit(name)
        self._names[str(future.key)] = name
        return future


class _Interruption:
    """A request to end, and the name by which running jobs learn of it."""

    def __init__(self) -> None:
        self.run = uuid.uuid4().hex[:12]
        self.asked = threading.Event()

    @property
    def reason(self) -> str:
        """The reason to start no further job; "" while nobody asked."""
        return "The rollout was interrupted." if self.asked.is_set() else ""


@contextlib.contextmanager
def _interruptible(client: Client) -> Iterator[_Interruption]:
    """Turn Ctrl-C, SIGTERM and SIGHUP into a request that running jobs see; twice is an end."""
    from distributed import Event

    interruption = _Interruption()
    ended = threading.Event()

    def pass_on() -> None:
        interruption.asked.wait()
        if not ended.is_set():
            Event(f"stop-{interruption.run}", client=client).set()

    def ask(number: int, frame: object) -> None:
        if interruption.asked.is_set():
            raise KeyboardInterrupt
        interruption.asked.set()

    messenger = threading.Thread(target=pass_on, name="kvmlab-fleet-stop", daemon=True)
    messenger.start()
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, ask) for number in signals} if is_main else {}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        ended.set()
        asked = interruption.asked.is_set()
        interruption.asked.set()
        messenger.join(_CONNECT_SEC)
        if not asked:
            interruption.asked.clear()


def _once(
    work: Callable[[HostJob, Callable[[], bool]], HostOutcome], job: HostJob, key: str, run: str
) -> HostOutcome:
    """Run a job, but never a second time: dask repeats the tasks of a worker that died."""
    from distributed import Event

    begun, stop = Event(f"begun-{key}"), Event(f"stop-{run}")
    if begun.is_set():
        return HostOutcome(job.host.name, Status.WORKER_DIED, message=_DIED)
    begun.set()
    return work(job, stop.is_set)


_DIED: Final = (
    "The worker died during this job. Its host was left to its journal and its rollback timer: it "
    f"undoes by itself what nobody confirms for {CONFIRM_WITHIN_SEC} s, and `kvmlab fleet restore` "
    "puts it back at once."
)


def _never() -> bool:
    return False


def _remains(answer: HostOutcome, uri: str) -> str:
    """Return the sentence on what a host says is left of a run that died."""
    try:
        left = json.loads(answer.stdout)["left"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return (
            f"It could not be asked what is left there; `kvmlab restore --host {uri}` when it "
            f"answers.\n{answer.message}"
        )
    if not left:
        return "Asked at the end of the rollout: nothing is left there."
    return (
        f"Asked at the end of the rollout: {len(left)} steps are not undone yet, the first is: "
        f"{left[0]} `kvmlab restore --host {uri}` undoes them now."
    )


def _outcome_of(future: Future[HostOutcome], host: str) -> HostOutcome:
    from distributed import KilledWorker

    error: Any = future.exception()
    if error is None:
        outcome: HostOutcome = future.result()
        return outcome
    if isinstance(error, KilledWorker):
        return HostOutcome(host, Status.WORKER_DIED, message=_DIED)
    return HostOutcome(host, Status.FAILED, message=f"{type(error).__name__}: {error}")


def _free_folder(folder: Path) -> Path:
    """Return ``folder``; what an earlier attempt left there is moved aside, numbered."""
    number = 1
    while folder.exists():
        aside = folder.with_name(f"{folder.name}.{number}")
        if not aside.exists():
            folder.rename(aside)
        number += 1
    folder.mkdir(parents=True, mode=0o700)
    return folder


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
