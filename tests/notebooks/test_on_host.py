"""The notebooks on the embedded host: by a run, by plain papermill, and killed."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from rich.console import Console

from kvmlab import embedded, open_lab
from kvmlab.changes import leftovers
from kvmlab.errors import RunFailed
from kvmlab.results import load
from kvmlab.runbook import Outcome, run
from kvmlab.runbook.notebooks import folder
from tests.runbook.made import notebook

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.host

QUICK = {"TRIALS": "2", "SECONDS": "1"}
PARAMETERS = 'HOST: str = "embedded"  # host\nOUT: str = "results"  # folder'
APPLY_AND_DIE = (
    "import os, signal, kvmlab\n"
    "lab = kvmlab.open_lab(HOST)\n"
    "with lab.plan(kvmlab.Virtio()).applied(lab.vm) as nic:\n"
    "    os.kill(os.getpid(), signal.SIGKILL)"
)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Both notebooks, run once for all the tests of this module."""
    out = tmp_path_factory.mktemp("run") / "out"
    return run(["00", "01"], given=QUICK, out=out, console=Console(file=io.StringIO()))


def test_the_path_was_traced_through_every_layer(done: Outcome) -> None:
    (kept,) = (done.folder / "results" / "00-packet-path").iterdir()
    (traced,) = load(kept)
    assert traced.path is not None
    kinds = [hop.kind for hop in traced.path.leg("request") if hop.side == "host"]
    assert kinds == ["tap", "bridge", "port"]
    carriers = {hop.carrier for hop in traced.path.leg("request") if hop.kind == "tap"}
    assert carriers == {"QEMU main loop"}
    assert (kept / "facts.json").exists()


def test_virtio_costs_fewer_exits_than_full_emulation(done: Outcome) -> None:
    (kept,) = (done.folder / "results" / "01-full-emulation-and-virtio").iterdir()
    slow, fast = load(kept)
    assert (slow.scheme, fast.scheme) == ("e1000", "virtio-qemu")
    exits = [result.summary("vm_exits_per_packet", "tcp_up").median for result in (slow, fast)]
    assert exits[0] > 2 * exits[1]
    to_qemu = [r.summary("userspace_exits_per_packet", "tcp_up").median for r in (slow, fast)]
    assert to_qemu[0] > 10 * to_qemu[1]


def test_the_data_are_one_table(done: Outcome) -> None:
    import pandas as pd

    table = pd.read_csv(done.folder / "data.csv")
    assert set(table["scheme"]) == {"e1000", "virtio-qemu"}
    assert set(table["trial"]) == {1, 2}
    assert table["emulated"].str.contains("Embedded host").all()


def test_the_report_shows_its_figures_without_a_network(done: Outcome, browser: Browser) -> None:
    with browser.new_context(offline=True) as context:
        page = context.new_page()
        page.goto(done.report.as_uri())
        count = page.locator("figure.plot").count()
        assert count >= 6
        page.wait_for_function(
            "n => document.querySelectorAll('figure[data-drawn]').length === n", arg=count
        )
        said = page.inner_text("main")
    assert "The way of one ping: virtio, QEMU back end" in said
    assert "Throughput, latency and cost: e1000, fully emulated against virtio" in said
    assert "What a packet costs" in said
    assert "Traceback" not in said


def test_plain_papermill_runs_a_notebook_too(tmp_path: Path) -> None:
    before = _hosts_of(os.getpid())  # the one that other tests share
    executed = tmp_path / "out.ipynb"
    command = ["papermill", str(folder() / "00-packet-path.ipynb"), str(executed), "-p", "OUT", "x"]
    subprocess.run(
        [sys.executable, "-m", *command], cwd=tmp_path, timeout=600, check=True, capture_output=True
    )
    assert list((tmp_path / "x").glob("*/results.json"))
    assert _hosts_of(os.getpid()) == before


def test_a_kernel_killed_in_the_middle_leaves_a_clean_host(tmp_path: Path) -> None:
    before = _hosts_of(os.getpid())
    book = notebook(tmp_path / "a.ipynb", [APPLY_AND_DIE], parameters=PARAMETERS)
    with pytest.raises(RunFailed, match="kernel of a died"):
        run([str(book)], out=tmp_path / "out", console=Console(file=io.StringIO()))
    assert _hosts_of(os.getpid()) == before
    with open_lab(progress=lambda text: None) as lab:
        assert leftovers(lab.host) == ()
        assert "bridge" not in {link.kind for link in lab.inspect().links}
        assert "<interface" not in lab.vm.xml()


def _hosts_of(pid: int) -> list[str]:
    """The embedded hosts that belong to a process or to one of its children."""
    mine = {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}
    return [host["run_dir"] for host in embedded.status() if host["owner_pid"] in mine]
