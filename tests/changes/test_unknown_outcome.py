"""A command that may still run is not taken for one that has ended."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from kvmlab.changes import Command, HostStep, Setting, host_steps, leftovers, restore
from kvmlab.changes.change import AppliedSteps
from kvmlab.domain import TestVM
from kvmlab.errors import CommandTimeout, OutcomeUnknown, RevertFailed, StepFailed
from kvmlab.process import Completed
from tests.changes.plain_host import PlainRunner, write_anywhere

LATE_SEC = 2


class ForgetfulRunner(PlainRunner):
    """Starts ``slow`` and reports a timeout at once: it goes on, as on a frozen connection."""

    def __init__(self, slow: Path) -> None:
        super().__init__()
        self._slow = str(slow)
        self.started: list[subprocess.Popen[bytes]] = []

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_sec: float,
        input_text: str | None = None,
        check: bool = True,
        root: bool = False,
    ) -> Completed:
        if self._slow in argv:
            self.started.append(subprocess.Popen(argv))
            raise CommandTimeout(f"`{argv[0]}` did not end.")
        return super().run(
            argv, timeout_sec=timeout_sec, input_text=input_text, check=check, root=root
        )


@pytest.fixture
def slow(tmp_path: Path, folder: Path) -> Path:
    """Write a script that changes the setting only after a while."""
    path = tmp_path / "slow.sh"
    path.write_text(f"sleep {LATE_SEC}\necho 7 >{folder / 'one'}\n")
    return path


@pytest.fixture
def late_step(slow: Path, folder: Path) -> HostStep:
    return HostStep(
        what="Write 7 into one, slowly.",
        setting=Setting(str(folder / "one"), "0", "7"),
        do=(Command(("sh", str(slow))),),
        undo=(write_anywhere(str(folder / "one"), "0"),),
    )


@pytest.fixture
def runner(plain_vm: TestVM, slow: Path) -> Iterator[ForgetfulRunner]:
    forgetful = ForgetfulRunner(slow)
    plain_vm.host.runner = forgetful
    yield forgetful
    for process in forgetful.started:
        process.kill()
        process.wait()


def test_the_setting_is_read_at_rest(
    folder: Path, plain_vm: TestVM, late_step: HostStep, runner: ForgetfulRunner
) -> None:
    """It reads as before when the timeout comes, and moves two seconds later."""
    with pytest.raises(StepFailed, match="did not end"):
        AppliedSteps(plain_vm, (late_step,), scheme="x").apply()
    (process,) = runner.started
    process.wait(timeout=20)
    assert (folder / "one").read_text() == "0\n"
    assert leftovers(plain_vm.host) == ()


def test_until_it_is_at_rest_the_journal_stays(
    folder: Path,
    plain_vm: TestVM,
    late_step: HostStep,
    runner: ForgetfulRunner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    defaults = host_steps.await_rest.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "timeout_sec", 0.2)
    with pytest.raises(RevertFailed, match="could not be put back") as caught:
        AppliedSteps(plain_vm, (late_step,), scheme="x").apply()
    assert isinstance(caught.value.__cause__, OutcomeUnknown)
    assert "slow.sh" in caught.value.evidence
    assert [left.what for left in leftovers(plain_vm.host)] == [late_step.what]
    with pytest.raises(RevertFailed):
        restore(plain_vm.host)
    (process,) = runner.started
    process.wait(timeout=20)
    assert (folder / "one").read_text() == "7\n", "only now is the outcome known"
    assert restore(plain_vm.host) == (f"Undone (x): {late_step.what}",)
    assert (folder / "one").read_text() == "0\n"
    assert leftovers(plain_vm.host) == ()
