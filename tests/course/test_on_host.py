"""Every task on the embedded host: what its check says at each turn, and what is left behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from kvmlab.changes import HostSnapshot, leftovers
from kvmlab.cli.app import answer
from kvmlab.course import Site, Task, TaskSession, all_tasks, read_progress, read_started
from kvmlab.course.tasks.checks import in_digits
from kvmlab.errors import UsageError
from kvmlab.lab import open_lab
from kvmlab.schemes import Virtio

if TYPE_CHECKING:
    from pathlib import Path

    from kvmlab.domain import TestVM
    from kvmlab.hosts import Host
    from kvmlab.lab import Lab

    Capfd = pytest.CaptureFixture[str]

pytestmark = [pytest.mark.host, pytest.mark.minutes(12), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Yield an embedded host of this file's own: a VM that has migrated is another process."""
    with open_lab("embedded", out=tmp_path_factory.mktemp("results")) as opened:
        yield opened


@pytest.fixture(scope="module")
def before(lab: Lab) -> HostSnapshot:
    """Return the host as it is before all tasks."""
    return HostSnapshot.take(lab.host, lab.vm)


@pytest.fixture(autouse=True)
def nothing_left(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    host: Host,
    vm: TestVM,
    before: HostSnapshot,
) -> Iterator[None]:
    """Check that the host is as before after each test; keep the progress away from this user's."""
    monkeypatch.setenv("KVMLAB_STATE_HOME", str(tmp_path))
    yield
    started = read_started(host)
    assert started is None
    assert [*before.differences(HostSnapshot.take(host, vm))] == []
    assert leftovers(host) == ()


def reasons(session: TaskSession, answer: str = "") -> str:
    return " ".join(reason.en for reason in session.check(answer).reasons)


def site(session: TaskSession) -> Site:
    started = session.started
    assert started is not None
    return Site(session.lab, "", started.mac, started.notes)


@pytest.mark.parametrize("task", all_tasks(), ids=lambda task: task.id)
def test_a_task(task: Task, lab: Lab) -> None:
    """Start, check in vain, err in three ways, solve, pass, reset."""
    session = lab.task_session(task.id)
    session.start()
    try:
        assert reasons(session), "It is done before anybody has done anything."
        right = task.right_answer(site(session)) if task.right_answer else ""
        for mistake in task.mistakes:
            answer = mistake.answer
            if not isinstance(answer, str):
                answer = answer(site(session))
            if mistake.factor:
                answer = in_digits(mistake.factor * float(right))
            for line in mistake.lines:
                site(session).run(line)
            assert mistake.reason in reasons(session, answer), mistake
            if mistake.lines:
                session.rewind()
        assert reasons(session, session.solve()) == ""
    finally:
        session.reset()


def test_another_task_resets_the_first_one(lab: Lab) -> None:
    first, second = lab.task_session("00-2"), lab.task_session("02-2")
    first.start()
    first.solve()
    second.start()
    try:
        assert first.started is None
        assert "br-course" not in site(second).links
        with pytest.raises(UsageError, match="00-2 was not started"):
            first.check()
    finally:
        second.reset()


def test_a_change_of_the_notebook_takes_the_place_of_a_task(lab: Lab) -> None:
    """A cell that applies a plan works, and the NIC that the task began with goes."""
    session = lab.task_session("02-3")
    session.start()
    with lab.plan(Virtio(backend="qemu")).applied(lab.vm) as nic:
        assert [i.target_dev for i in site(session).interfaces] == [nic.host_device]
    assert "Start the task again" in reasons(session, "100")
    assert session.rewind().mac
    assert reasons(session, session.solve()) == ""
    session.reset()


def test_a_card_and_a_terminal_work_on_the_same_task(lab: Lab, capfd: Capfd) -> None:
    """Start in a terminal, fail and take a hint on the card, mend by hand, pass in the terminal."""
    assert lab._session.lease is not None
    where = ("--run-dir", str(lab._session.lease.run_dir))
    card = lab.task("00-2")
    assert answer(["task", "start", "00-2", *where]) == 0
    assert "Make a bridge br-course" in capfd.readouterr().out
    try:
        card.press("Check")
        assert "no bridge of the name br-course" in card.message.value
        card.press("Hint")
        assert "Three commands" in card.message.value
        assert answer(["task", "check", "00-2", *where]) == 1
        assert "- p2p1 does not belong to the bridge." in capfd.readouterr().out
        for line in card.task.solution:
            lab.host.run(("sh", "-c", line), timeout_sec=60, root=True)
        assert answer(["task", "check", "00-2", *where]) == 0
        assert "Passed." in capfd.readouterr().out
        card.press("Check")
        assert "✓" in card.message.value
        assert answer(["task", "list", "00"]) == 0
        assert "passed" in capfd.readouterr().out.splitlines()[2]
    finally:
        assert answer(["task", "reset", "00-2", *where]) == 0
    events = [(entry.event, entry.hints, entry.result) for entry in read_progress()]
    assert events == [
        ("start", 0, ""),
        ("check", 0, "failed"),
        ("hint", 1, ""),
        ("check", 1, "failed"),
        ("check", 1, "passed"),
        ("check", 1, "passed"),
        ("reset", 1, ""),
    ]
