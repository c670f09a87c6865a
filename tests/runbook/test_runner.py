"""Runs of small notebooks that need no host, ended in every way a run can end."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lxml.html as lxml_html
import nbformat
import pandas as pd
import psutil
import pytest
from rich.console import Console

from kvmlab.deadline import until
from kvmlab.errors import RunFailed, Unavailable, UsageError
from kvmlab.runbook import run
from tests.runbook.builders import WITH_HOST, notebook

# Longer than the five seconds that Jupyter has for a kernel that it ends.
REVERT_SEC = 7

KEEP = """
from pathlib import Path
from kvmlab.results import save
from tests.report.builders import e1000, virtio
save([e1000(), virtio()], Path(OUT) / "now")
"""


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the test a home of its own; kernels find the package and the tests."""
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "IPYTHONDIR"):
        (tmp_path / "home" / name.lower()).mkdir(parents=True)
        monkeypatch.setenv(name, str(tmp_path / "home" / name.lower()))
    monkeypatch.setenv("PYTHONPATH", str(repository))


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_leaves_notebooks_data_and_a_report(
    tmp_path: Path, console: Console, jobs: int
) -> None:
    books = [
        str(notebook(tmp_path / "a.ipynb", [KEEP, "TRIALS"])),
        str(notebook(tmp_path / "b.ipynb", ["1 + 1"])),
    ]
    out = tmp_path / "out"
    outcome = run(books, parameters={"TRIALS": "7"}, out=out, console=console, jobs=jobs)
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
    assert "Part 2" in printed(console)


def test_notebooks_run_side_by_side_and_are_reported_in_order(
    tmp_path: Path, console: Console
) -> None:
    """Each waits for the other's file: one after the other they would wait in vain."""
    cell = (
        "import pathlib, time\n"
        "pathlib.Path({own!r}).touch()\n"
        "end = time.monotonic() + 60\n"
        "while not pathlib.Path({other!r}).exists() and time.monotonic() < end:\n"
        "    time.sleep(0.1)\n"
        "assert pathlib.Path({other!r}).exists()\n"
        "import os; os.environ['KVMLAB_JOBS']"
    )
    marks = [str(tmp_path / name) for name in ("one", "other")]
    books = [
        str(notebook(tmp_path / "b.ipynb", [cell.format(own=marks[0], other=marks[1])])),
        str(notebook(tmp_path / "a.ipynb", [cell.format(own=marks[1], other=marks[0])])),
        str(notebook(tmp_path / "c.ipynb", ["1"])),
    ]
    outcome = run(books, out=tmp_path / "out", console=console, jobs=2)
    assert outcome.notebooks == ("b", "a", "c")
    executed = nbformat.read(tmp_path / "out" / "notebooks" / "a.ipynb", as_version=4)
    assert executed.cells[-1].outputs[-1].data["text/plain"] == "'1'"
    report = outcome.report.read_text()
    assert report.index("<h1>b</h1>") < report.index("<h1>a</h1>") < report.index("<h1>c</h1>")
    assert "a    " in printed(console), "lines name their notebook"


@pytest.mark.parametrize(("language", "title"), [("en", "Glossary"), ("zh-CN", "术语表")])
def test_terms_of_a_report_lead_to_the_glossary_in_it(
    tmp_path: Path, console: Console, language: str, title: str
) -> None:
    path = notebook(tmp_path / "a.ipynb", ["1"])
    node = nbformat.read(path, as_version=4)
    node.cells.append(nbformat.v4.new_markdown_cell("It counts VM exits, 即 VM 退出。", id="prose"))
    nbformat.write(node, path)
    outcome = run([str(path)], out=tmp_path / "out", console=console, language=language)
    report = lxml_html.document_fromstring(outcome.report.read_text())
    by_id = {str(each.get("id")): each for each in report.iter() if each.get("id")}
    targets = [str(link.get("href")) for link in by_id["n0-prose"].iter("a")]
    (target,) = [target for target in targets if "VM-exit" in target]
    term = "".join(map(str, by_id[target.removeprefix("#")].itertext()))
    assert "CPU 离开非根模式" in term or "leaves non-root" in term
    assert title in [link.text for link in report.iterfind(".//nav//a")]


def test_a_notebook_that_runs_alone_compares_on_all_hosts(tmp_path: Path, console: Console) -> None:
    book = notebook(tmp_path / "a.ipynb", ["import os; os.environ['KVMLAB_JOBS']"])
    run([str(book)], out=tmp_path / "out", console=console, jobs=3)
    executed = nbformat.read(tmp_path / "out" / "notebooks" / "a.ipynb", as_version=4)
    assert executed.cells[-1].outputs[-1].data["text/plain"] == "'3'"


def test_without_a_number_a_notebook_chooses_its_hosts(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KVMLAB_JOBS", raising=False)
    book = notebook(tmp_path / "a.ipynb", ["import os; os.environ.get('KVMLAB_JOBS')"])
    run([str(book)], out=tmp_path / "out", console=console, jobs=None)
    executed = nbformat.read(tmp_path / "out" / "notebooks" / "a.ipynb", as_version=4)
    assert executed.cells[-1].outputs == []


def test_a_failure_stops_the_notebooks_beside_it(tmp_path: Path, console: Console) -> None:
    reverted, applied = tmp_path / "reverted", tmp_path / "applied"
    slow = (
        "import contextlib, pathlib, time\n"
        "with contextlib.ExitStack() as stack:\n"
        f"    stack.callback(pathlib.Path({str(reverted)!r}).touch)\n"
        f"    pathlib.Path({str(applied)!r}).touch()\n"
        "    time.sleep(60)"
    )
    failing = (
        "import pathlib, time\n"
        f"while not pathlib.Path({str(applied)!r}).exists():\n"
        "    time.sleep(0.1)\n"
        "secret = 1 / 0"
    )
    books = [
        str(notebook(tmp_path / "a.ipynb", [slow])),
        str(notebook(tmp_path / "b.ipynb", [failing])),
        str(notebook(tmp_path / "c.ipynb", ["3"])),
    ]
    out = tmp_path / "out"
    with pytest.raises(RunFailed, match="b stopped at cell") as caught:
        run(books, out=out, console=console, jobs=2)
    assert "ZeroDivisionError" in caught.value.evidence
    assert reverted.exists()
    record = json.loads((out / "run.json").read_text())
    statuses = [entry["status"] for entry in record["entries"]]
    assert (record["status"], statuses) == ("failed", ["interrupted", "failed", "waiting"])
    assert "This run is not complete" in (out / "report.html").read_text()


def test_a_killed_notebook_process_ends_the_run(tmp_path: Path, console: Console) -> None:
    kill = "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"
    books = [str(notebook(tmp_path / f"{name}.ipynb", ["1", kill])) for name in "ab"]
    with pytest.raises(RunFailed, match="ended with exit code -9 without a result"):
        run(books, out=tmp_path / "out", console=console, jobs=2)


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
    assert "This run is not complete" in (out / "report.html").read_text()
    assert not (out / "notebooks" / "b.ipynb").exists()


def test_a_killed_kernel_ends_the_run(tmp_path: Path, console: Console) -> None:
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    book = notebook(tmp_path / "a.ipynb", ["1", kill])
    with pytest.raises(RunFailed, match="kernel of a died under “Part 2”") as caught:
        run([str(book)], out=tmp_path / "out", console=console)
    assert "SIGKILL" in caught.value.evidence


def test_why_a_kernel_does_not_start_is_evidence_and_not_on_the_screen(
    tmp_path: Path,
    console: Console,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "ipykernel_launcher.py").write_text("raise ImportError('a library is missing')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    book = notebook(tmp_path / "a.ipynb", ["1"])
    with pytest.raises(RunFailed, match="kernel of a does not start") as caught:
        run([str(book)], out=tmp_path / "out", console=console)
    assert "a library is missing" in caught.value.evidence
    assert capfd.readouterr().err == ""


def test_an_interrupted_run_lets_the_cell_clean_up_and_leaves_no_process(
    tmp_path: Path, repository: Path
) -> None:
    """By Ctrl-C and by SIGTERM, side by side: most of the time is that of the cells' clean-up."""
    codes = {signal.SIGINT: 130, signal.SIGTERM: 128 + signal.SIGTERM}
    with ThreadPoolExecutor() as pool:
        ends = {
            (number, jobs): pool.submit(
                _interrupt, tmp_path / f"{number.name}-{jobs}", repository, number, jobs
            )
            for number in codes
            for jobs in (1, 2)
        }
    for (number, _), end in ends.items():
        assert end.result() == codes[number]


def _interrupt(folder: Path, repository: Path, number: signal.Signals, jobs: int) -> int:
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
    # One that runs alone is executed as with one job.
    beside = [str(notebook(folder / "b.ipynb", ["1"]))] if jobs > 1 else []
    command = [sys.executable, "-m", "kvmlab", "run", str(book), *beside, "--out", str(out)]
    command += ["--jobs", str(jobs)]
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


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_killed_run_leaves_no_kernel(tmp_path: Path, repository: Path, jobs: str) -> None:
    mark = tmp_path / "applied"
    cell = f"import pathlib, time\npathlib.Path({str(mark)!r}).touch()\ntime.sleep(60)"
    book = notebook(tmp_path / "a.ipynb", [cell])
    beside = [str(notebook(tmp_path / "b.ipynb", ["1"]))] if jobs != "1" else []
    command = [sys.executable, "-m", "kvmlab", "run", str(book), *beside]
    command += ["--out", str(tmp_path / "out"), "--jobs", jobs]
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
        run([str(book)], parameters={"TRIALS": "x"}, out=tmp_path / "out", console=console)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "value"), [("TRIALS", "0"), ("TRIALS", "101"), ("SECONDS", "-1"), ("SECONDS", "1.5")]
)
def test_a_value_that_no_notebook_can_use_is_known_before_the_run(
    tmp_path: Path, console: Console, name: str, value: str
) -> None:
    book = notebook(tmp_path / "a.ipynb", ["1"])
    with pytest.raises(UsageError, match=f"{name}={value}.*: .* a whole number from 1 to"):
        run([str(book)], parameters={name: value}, out=tmp_path / "out", console=console)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "kind", "default", "value", "advice"),
    [
        ("QUEUES", "int", "4", "1", "Use 2 or 4"),
        ("QUEUES", "int", "4", "999", "Use 1 to 256"),
        ("MODEL", "str", '"e1000"', "virtio-vhost", "Use e1000 or e1000e"),
        ("GUEST", "str", '"linux"', "dos", "linux-cloud"),
        ("LOAD", "str", '"bulk"', "heavy", "latency"),
    ],
)
def test_words_and_numbers_of_single_notebooks_are_known_before_the_run(
    tmp_path: Path, console: Console, name: str, kind: str, default: str, value: str, advice: str
) -> None:
    book = notebook(tmp_path / "a.ipynb", ["1"], parameters=f"{name}: {kind} = {default}  # what")
    with pytest.raises(UsageError, match=f"{name}={value}") as caught:
        run([str(book)], parameters={name: value}, out=tmp_path / "out", console=console)
    assert advice in (caught.value.todo or "")
    assert not (tmp_path / "out").exists()


def test_a_host_without_libvirt_is_known_before_the_run(tmp_path: Path, console: Console) -> None:
    if Path("/run/libvirt/libvirt-sock").exists():
        pytest.skip("libvirt runs on this machine")
    book = notebook(tmp_path / "a.ipynb", ["1"], parameters=WITH_HOST)
    with pytest.raises(Unavailable, match="No libvirt answers"):
        run([str(book)], out=tmp_path / "out", console=console)
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
    book = notebook(tmp_path / "a.ipynb", ["1"], parameters=WITH_HOST)
    with pytest.raises(UsageError, match="xen"):
        run([str(book)], parameters={"HOST": "xen:///"}, out=tmp_path / "out", console=console)
    assert not (tmp_path / "out").exists()
