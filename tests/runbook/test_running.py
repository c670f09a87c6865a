"""Runs of small notebooks that need no host, ended in every way a run can end."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest
from rich.console import Console

from kvmlab.errors import RunFailed, UsageError
from kvmlab.runbook import run
from kvmlab.waiting import until
from tests.runbook.made import notebook

# Longer than the five seconds that Jupyter has for a kernel that it ends.
REVERT_SEC = 7

KEEP = """
from pathlib import Path
from kvmlab.results import save
from tests.report.made import e1000, virtio
save([e1000(), virtio()], Path(OUT) / "now")
"""


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of its own; kernels find the package and the tests."""
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "IPYTHONDIR"):
        (tmp_path / "home" / name.lower()).mkdir(parents=True)
        monkeypatch.setenv(name, str(tmp_path / "home" / name.lower()))
    monkeypatch.setenv("PYTHONPATH", str(repository))


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_run_leaves_notebooks_data_and_a_report(tmp_path: Path, console: Console) -> None:
    books = [
        str(notebook(tmp_path / "a.ipynb", [KEEP, "TRIALS"])),
        str(notebook(tmp_path / "b.ipynb", ["1 + 1"])),
    ]
    out = tmp_path / "out"
    outcome = run(books, given={"TRIALS": "7"}, out=out, console=console)
    assert outcome.notebooks == ("a", "b")
    assert outcome.results == 2
    executed = nbformat.read(out / "notebooks" / "a.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].data["text/plain"] == "7"
    table = pd.read_parquet(out / "data.parquet")
    assert table.equals(pd.read_parquet(out / "data.parquet"))
    assert len(pd.read_csv(out / "data.csv")) == len(table)
    assert set(table["scheme"]) == {"e1000", "virtio-qemu"}
    assert set(table["notebook"]) == {"a"}
    report = outcome.report.read_text()
    assert "medians of all trials" in report
    assert report.count('<tr class="complete">') == 2
    record = json.loads((out / "run.json").read_text())
    assert record["status"] == "complete"
    assert [entry["status"] for entry in record["entries"]] == ["complete", "complete"]
    assert record["entries"][0]["parameters"]["TRIALS"] == 7
    assert "Part 2" in said(console)


def test_the_first_failed_cell_ends_the_run_and_is_shown(tmp_path: Path, console: Console) -> None:
    books = [
        str(notebook(tmp_path / "a.ipynb", ["1", "secret = 1 / 0", "2"])),
        str(notebook(tmp_path / "b.ipynb", ["3"])),
    ]
    out = tmp_path / "out"
    with pytest.raises(RunFailed, match="under “Part 2”") as caught:
        run(books, out=out, console=console)
    assert "secret = 1 / 0" in caught.value.evidence
    assert "ZeroDivisionError: division by zero" in caught.value.evidence
    record = json.loads((out / "run.json").read_text())
    assert record["status"] == "failed"
    assert [entry["status"] for entry in record["entries"]] == ["failed", "waiting"]
    assert "This run did not come to its end" in (out / "report.html").read_text()
    assert not (out / "notebooks" / "b.ipynb").exists()


def test_a_killed_kernel_ends_the_run(tmp_path: Path, console: Console) -> None:
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    book = notebook(tmp_path / "a.ipynb", ["1", kill])
    with pytest.raises(RunFailed, match="kernel of a died under “Part 2”") as caught:
        run([str(book)], out=tmp_path / "out", console=console)
    assert "SIGKILL" in caught.value.evidence


def test_an_interrupted_run_lets_the_cell_clean_up_and_leaves_no_process(
    tmp_path: Path, repository: Path
) -> None:
    """By Ctrl-C and by SIGTERM, side by side: most of the time is that of the cells' clean-up."""
    codes = {signal.SIGINT: 130, signal.SIGTERM: 128 + signal.SIGTERM}
    with ThreadPoolExecutor() as pool:
        ends = [pool.submit(_interrupt, tmp_path / n.name, repository, n) for n in codes]
    for end, code in zip(ends, codes.values(), strict=True):
        assert end.result() == code


def _interrupt(folder: Path, repository: Path, number: signal.Signals) -> int:
    """Send the signal while a cell has something applied; returns the exit code of the run."""
    cell = (
        "import contextlib, pathlib, time\n"
        "with contextlib.ExitStack() as stack:\n"
        f"    stack.callback(pathlib.Path({str(folder / 'reverted')!r}).touch)\n"
        f"    stack.callback(time.sleep, {REVERT_SEC})\n"
        f"    pathlib.Path({str(folder / 'applied')!r}).touch()\n"
        "    time.sleep(60)"
    )
    book = notebook(folder / "a.ipynb", [cell])
    out = folder / "out"
    command = [sys.executable, "-m", "kvmlab", "run", str(book), "--out", str(out)]
    with subprocess.Popen(command, cwd=repository, stderr=subprocess.PIPE, text=True) as process:
        until((folder / "applied").exists, timeout_sec=60, what="The cell")
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert errors.strip() == "Interrupted. What had been changed on the host is put back."
    assert (folder / "reverted").exists()
    assert not [child for child in children if child.is_running()]
    assert json.loads((out / "run.json").read_text())["status"] == "interrupted"
    return process.returncode


def test_a_killed_run_leaves_no_kernel(tmp_path: Path, repository: Path) -> None:
    mark = tmp_path / "applied"
    cell = f"import pathlib, time\npathlib.Path({str(mark)!r}).touch()\ntime.sleep(60)"
    book = notebook(tmp_path / "a.ipynb", [cell])
    command = [sys.executable, "-m", "kvmlab", "run", str(book), "--out", str(tmp_path / "out")]
    with subprocess.Popen(command, cwd=repository) as process:
        until(mark.exists, timeout_sec=60, what="The cell")
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    assert children
    until(
        lambda: not [child for child in children if _lives(child)],
        timeout_sec=20,
        what="The end of the kernel",
    )


def _lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_nothing_starts_when_a_parameter_is_wrong(tmp_path: Path, console: Console) -> None:
    book = notebook(tmp_path / "a.ipynb", ["1"])
    with pytest.raises(UsageError):
        run([str(book)], given={"TRIALS": "x"}, out=tmp_path / "out", console=console)
    assert not (tmp_path / "out").exists()


def test_a_missing_kernel_is_known_before_the_run(tmp_path: Path, console: Console) -> None:
    book = notebook(tmp_path / "a.ipynb", ["1"], kernel="julia-1.9")
    with pytest.raises(UsageError, match=r"asks for the Jupyter kernel 'julia-1\.9'"):
        run([str(book)], out=tmp_path / "out", console=console)


def test_a_folder_in_use_is_refused(tmp_path: Path, console: Console) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    book = notebook(tmp_path / "a.ipynb", ["1"])
    with pytest.raises(UsageError, match="not empty"):
        run([str(book)], out=tmp_path / "out", console=console)


def test_an_unknown_kind_of_host_ends_the_run_before_the_notebook(
    tmp_path: Path, console: Console
) -> None:
    book = notebook(tmp_path / "a.ipynb", ["1"])
    with pytest.raises(UsageError, match="xen"):
        run([str(book)], given={"HOST": "xen:///"}, out=tmp_path / "out", console=console)
    assert not (tmp_path / "out").exists()
