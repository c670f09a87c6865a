"""Rollouts on dask: canaries, limits, resuming, workers that die, and what comes back."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kvmlab.errors import HostUnreachable, UsageError
from kvmlab.fleet import (
    FleetHost,
    FleetRecord,
    HostJob,
    HostOutcome,
    Rollout,
    Status,
    load_record,
    write_matrix,
)
from kvmlab.fleet.host_job import unpack

NAMES = tuple(f"kvm{number}" for number in range(1, 7))


def jobs() -> dict[str, HostJob]:
    return {name: HostJob(FleetHost(name, "embedded"), ("doctor",)) for name in NAMES}


def record(folder: Path) -> FleetRecord:
    return FleetRecord(folder, ("kvmlab fleet doctor",), NAMES)


def succeed(job: HostJob, stop: Callable[[], bool]) -> HostOutcome:
    return HostOutcome(job.host.name, Status.OK, 0)


def fail_from_the_third(job: HostJob, stop: Callable[[], bool]) -> HostOutcome:
    failed = job.host.name >= "kvm3"
    return HostOutcome(job.host.name, Status.FAILED if failed else Status.OK, int(failed))


def wait_for_the_end(job: HostJob, stop: Callable[[], bool]) -> HostOutcome:
    while not stop():
        time.sleep(0.05)
    return HostOutcome(job.host.name, Status.FAILED, 143, "The rollout was interrupted.")


def die(job: HostJob, stop: Callable[[], bool]) -> HostOutcome:
    if job.host.name == "kvm2":
        os.kill(os.getpid(), signal.SIGKILL)
    return HostOutcome(job.host.name, Status.OK, 0)


def statuses(done: FleetRecord) -> dict[str, str]:
    return {name: str(outcome.status) for name, outcome in done.outcomes.items()}


def test_every_host_has_its_outcome_on_disk(tmp_path: Path) -> None:
    done = Rollout(jobs=3).run(record(tmp_path), jobs(), work=succeed)
    assert statuses(done) == dict.fromkeys(NAMES, "ok")
    assert load_record(tmp_path) == done
    assert done.ended


def test_a_failing_canary_ends_it(tmp_path: Path) -> None:
    done = Rollout(jobs=3, canary=3).run(record(tmp_path), jobs(), work=fail_from_the_third)
    assert list(statuses(done).values()) == ["ok", "ok", "failed", "skipped", "skipped", "skipped"]
    assert "canary" in done.stopped


def test_it_stops_after_so_many_failures_and_resumes(tmp_path: Path) -> None:
    rollout = Rollout(jobs=1, canary=1, max_failures=2)
    done = rollout.run(record(tmp_path), jobs(), work=fail_from_the_third)
    assert list(statuses(done).values()) == ["ok", "ok", "failed", "failed", "skipped", "skipped"]
    again: list[str] = []
    resumed = Rollout(jobs=2, canary=0).run(
        load_record(tmp_path),
        jobs(),
        work=succeed,
        on_outcome=lambda outcome: again.append(outcome.host),
    )
    assert sorted(again) == ["kvm3", "kvm4", "kvm5", "kvm6"]
    assert statuses(resumed) == dict.fromkeys(NAMES, "ok")
    assert not resumed.stopped


def test_an_interruption_reaches_running_jobs(tmp_path: Path) -> None:
    timer = threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    before = signal.getsignal(signal.SIGTERM)
    done = Rollout(jobs=2, canary=0).run(record(tmp_path), jobs(), work=wait_for_the_end)
    assert signal.getsignal(signal.SIGTERM) is before
    assert list(statuses(done).values()).count("skipped") == 4
    assert done.stopped == "The rollout was interrupted."


@pytest.fixture
def scheduler(repository: Path) -> Iterator[str]:
    """Yield a dask scheduler with two worker processes, on free ports of 127.0.0.1."""
    program = (
        "import dask, sys; from distributed import LocalCluster\n"
        "if __name__ == '__main__':\n"
        "    cluster = LocalCluster(n_workers=2, threads_per_worker=1, host='127.0.0.1',"
        " dashboard_address=None)\n"
        "    print(cluster.scheduler_address, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    with process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        assert process.stdin is not None
        process.stdin.close()


def test_a_worker_that_dies_is_named_and_its_job_is_not_repeated(
    tmp_path: Path, scheduler: str
) -> None:
    rollout = Rollout(scheduler=scheduler, canary=0, max_failures=0)
    done = rollout.run(record(tmp_path), jobs(), work=die)
    expected = dict.fromkeys(NAMES, "ok") | {"kvm2": "worker died"}
    assert statuses(done) == expected
    assert "restore" in done.outcomes["kvm2"].message


def remains(job: HostJob, stop: Callable[[], bool]) -> HostOutcome:
    """Answer as `kvmlab restore --dry-run --json` of a host that still has two VFs."""
    assert job.words[:4] == ("restore", "--dry-run", "--json", "--host")
    answer = json.dumps({"left": ["port p2p1 has 2 VFs.", "vfs"], "would_run": []})
    return HostOutcome(job.host.name, Status.OK, 0, stdout=answer)


def silent(job: HostJob, stop: Callable[[], bool]) -> HostOutcome:
    return HostOutcome(job.host.name, Status.FAILED, 1, "kvm2 does not answer.")


def clean(job: HostJob, stop: Callable[[], bool]) -> HostOutcome:
    return HostOutcome(job.host.name, Status.OK, 0, stdout='{"left": [], "would_run": []}')


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (remains, "2 steps are not undone yet, the first is: port p2p1 has 2 VFs. `kvmlab restore"),
        (clean, "nothing is left there"),
        (silent, "could not be asked what is left there; `kvmlab restore --host embedded`"),
    ],
)
def test_a_host_that_was_left_to_itself_is_asked_what_is_left(
    tmp_path: Path, answer: Callable[[HostJob, Callable[[], bool]], HostOutcome], sentence: str
) -> None:
    rollout = Rollout(jobs=2, canary=0, max_failures=0)
    done = rollout.run(record(tmp_path), jobs(), work=lose_the_second)
    hosts = {name: job.host for name, job in jobs().items()}
    asked = rollout.ask_lost_hosts(done, hosts, work=answer)
    assert sentence in asked.outcomes["kvm2"].message
    assert all(not outcome.message for name, outcome in asked.outcomes.items() if name != "kvm2")
    again = load_record(tmp_path)
    assert again.outcomes["kvm2"].message == asked.outcomes["kvm2"].message
    assert sentence.partition("`")[0] in write_matrix(again).read_text()


def lose_the_second(job: HostJob, stop: Callable[[], bool]) -> HostOutcome:
    lost = job.host.name == "kvm2"
    return HostOutcome(job.host.name, Status.WORKER_DIED if lost else Status.OK, 0)


def test_a_scheduler_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvmlab.scheduler._CONNECT_SEC", 1)
    with pytest.raises(HostUnreachable, match="does not answer"):
        Rollout(scheduler="tcp://127.0.0.1:1").run(record(tmp_path), jobs(), work=succeed)


def test_a_command_of_kvmlab_is_run_and_its_files_come_back(tmp_path: Path) -> None:
    host = FleetHost("kvm1", "embedded")
    job = HostJob(host, ("notebooks", "--json"))
    outcome = job.run()
    assert (outcome.status, outcome.exit_code) == (Status.OK, 0)
    assert "00-packet-path" in outcome.stdout
    refused = HostJob(host, ("run", "no-such-notebook", "--out", "{out}")).run()
    assert (refused.status, refused.exit_code) == (Status.FAILED, 2)
    assert "no-such-notebook" in refused.message


def test_a_command_past_its_deadline_is_ended(tmp_path: Path) -> None:
    # `lab` opens a server and would go on for ever.
    job = HostJob(FleetHost("kvm1", "embedded"), ("lab", "--no-browser"), timeout_sec=0.5)
    started = time.monotonic()
    outcome = job.run()
    assert outcome.failed
    assert "did not end within 0.5 s" in outcome.message
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("name", ["../outside", "/absolute", "a/../../outside"])
def test_what_comes_back_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    folder = tmp_path / "in"
    folder.mkdir()
    with pytest.raises(UsageError, match="leads out of its folder"):
        unpack(buffer.getvalue(), folder)
    assert sorted(tmp_path.rglob("*")) == [folder]


def test_a_link_that_comes_back_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(UsageError, match="neither a file nor a folder"):
        unpack(buffer.getvalue(), tmp_path)


def test_the_page_names_hosts_and_escapes_what_they_say(tmp_path: Path) -> None:
    hostile = HostOutcome("kvm1", Status.FAILED, 1, "<script>alert(1)</script>")
    page = write_matrix(
        FleetRecord(tmp_path, ("kvmlab fleet doctor",), ("kvm1", "kvm2"), {"kvm1": hostile})
    ).read_text("utf-8")
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "waiting" in page


def test_numbers_that_make_no_sense() -> None:
    with pytest.raises(UsageError, match="makes no sense"):
        Rollout(jobs=0)
