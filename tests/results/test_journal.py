"""The journal: every trial is on disk at once, whatever happens to the process."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kvmlab.errors import OutputError, UsageError
from kvmlab.results import RunInfo, RunJournal, find_runs, load, load_run
from kvmlab.results.journal import JOURNAL, recovered
from tests.results.builders import result

WHOLE = result(values=(100.0, 110.0, 90.0, 95.0))
ABOUT = RunInfo("embedded host", "wall", None, ("the virtio-qemu",), {"seed": 7})

# A measurement that is killed: it has two trials when it says so, and is in the third.
MEASURING = """
import sys
from pathlib import Path
from tests.results.test_journal import ABOUT, started
journal = started(Path(sys.argv[1]), trials=2)
print(journal.folder, flush=True)
journal._lines.write('{"number": 0, "trial": {"workload": "tcp')
journal._lines.flush()
sys.stdin.read()
"""


def started(out: Path, trials: int) -> RunJournal:
    """Return the journal of a measurement that has so many trials."""
    journal = RunJournal(out, ABOUT)
    trace, *outputs = reversed(WHOLE.raw)
    journal.begin(0, replace(WHOLE, raw=(trace,)))
    for number, trial in enumerate(WHOLE.trials[:trials]):
        journal.add(0, WHOLE.scheme, trial, outputs if number == 0 else ())
    return journal


def test_a_killed_measurement_leaves_its_trials(tmp_path: Path, repository: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", MEASURING, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=repository,
    )
    with child:
        assert child.stdout
        folder = Path(child.stdout.readline().strip())
        (run,) = find_runs([tmp_path])
        assert (run.status, run.trials) == ("measuring", 2)
        child.send_signal(signal.SIGKILL)
        child.wait(timeout=30)
    (run,) = find_runs([tmp_path])
    assert (run.status, run.trials, run.schemes) == ("unfinished", 2, ("the virtio-qemu",))
    assert run.detail == "The process that measured it ended without a word."
    (part,) = load_run(run, unfinished=True)
    assert part.result.trials == WHOLE.trials[:2]
    assert part.result.path == WHOLE.path
    assert sorted(part.result.raw, key=str) == sorted(WHOLE.raw, key=str)
    assert (folder / "raw/00-virtio-qemu/tcp_up-01-client.json").exists()
    with pytest.raises(UsageError, match="is not finished"):
        load_run(run)


def test_a_finished_measurement_is_a_run_with_its_metadata(tmp_path: Path) -> None:
    journal = started(tmp_path, trials=4)
    folder = journal.finish([WHOLE])
    assert load(folder) == (WHOLE,)
    (run,) = find_runs([tmp_path])
    assert (run.status, run.trials, run.clocks) == ("finished", 4, ("wall",))
    about = json.loads((folder / "measurement.json").read_text())
    assert about["settings"] == {"seed": 7}
    assert (about["state"], about["trials"]) == ("finished", 4)
    assert about["ended"] >= about["started"]


def test_a_failure_is_part_of_the_run(tmp_path: Path) -> None:
    started(tmp_path, trials=1).fail("The client failed.\nevidence")
    (run,) = find_runs([tmp_path])
    assert (run.status, run.trials, run.detail) == ("unfinished", 1, "The client failed.")


def test_two_measurements_of_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    first, second = started(tmp_path, 1), started(tmp_path, 1)
    assert first.folder != second.folder
    first.finish([WHOLE])
    second.finish([WHOLE])


def test_a_journal_damaged_in_the_middle_is_reported(tmp_path: Path) -> None:
    journal = started(tmp_path, trials=2)
    journal.fail("x")
    path = journal.folder / JOURNAL
    path.write_text("garbage\n" + path.read_text())
    with pytest.raises(OutputError, match="damaged"):
        recovered(journal.folder)
    (run,) = find_runs([tmp_path])
    assert run.status == "damaged"


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written to"):
        RunJournal(tmp_path / "file", ABOUT)


def test_a_folder_that_became_unwritable_is_named(tmp_path: Path) -> None:
    journal = started(tmp_path, trials=1)
    shutil.rmtree(journal.folder / "raw")
    (journal.folder / "raw").write_text("")
    with pytest.raises(UsageError, match="cannot be written to"):
        journal.add(0, WHOLE.scheme, WHOLE.trials[1], WHOLE.raw)
    journal.fail("No space.")
    (run,) = find_runs([tmp_path])
    assert run.status == "damaged"  # its raw output is gone
