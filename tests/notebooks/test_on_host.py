"""The notebooks on the embedded host: by a run, by plain papermill, in JupyterLab, and killed."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

import nbformat
import psutil
import pytest
from rich.console import Console

from kvmlab import embedded, open_lab
from kvmlab.changes import leftovers
from kvmlab.errors import RunFailed
from kvmlab.results import load
from kvmlab.runbook import Outcome, run
from kvmlab.runbook.notebooks import folder
from kvmlab.waiting import until
from tests.runbook.made import notebook

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

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
    executed = tmp_path / "out.ipynb"
    command = ["papermill", str(folder() / "00-packet-path.ipynb"), str(executed), "-p", "OUT", "x"]
    subprocess.run(
        [sys.executable, "-m", *command], cwd=tmp_path, timeout=600, check=True, capture_output=True
    )
    assert list((tmp_path / "x").glob("*/results.json"))
    assert _hosts_of(os.getpid()) == []


def test_a_kernel_killed_in_the_middle_leaves_a_clean_host(tmp_path: Path) -> None:
    book = notebook(tmp_path / "a.ipynb", [APPLY_AND_DIE], parameters=PARAMETERS)
    with pytest.raises(RunFailed, match="kernel of a died"):
        run([str(book)], out=tmp_path / "out", console=Console(file=io.StringIO()))
    assert _hosts_of(os.getpid()) == []
    with open_lab(progress=lambda text: None) as lab:
        assert leftovers(lab.host) == ()
        assert "bridge" not in {link.kind for link in lab.inspect().links}
        assert "<interface" not in lab.vm.xml()


def test_jupyterlab_runs_a_notebook_and_draws_its_figure(
    tmp_path: Path, browser: Browser, repository: Path
) -> None:
    book = tmp_path / "00-packet-path.ipynb"
    book.write_bytes((folder() / book.name).read_bytes())
    with _jupyterlab(book, repository) as address:
        page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
        page.goto(address)
        page.wait_for_selector(".jp-Notebook", timeout=60_000)
        page.wait_for_function("window.jupyterapp !== undefined")
        page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        until(
            lambda: _finished(page), timeout_sec=400, every_sec=2, what="The notebook's last cell"
        )
        page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
        until(
            lambda: "plotly" in book.read_text(),
            timeout_sec=30,
            what="The figure in the saved file",
        )
        page.locator(".js-plotly-plot").first.scroll_into_view_if_needed()
        assert page.locator(".js-plotly-plot svg.main-svg").first.is_visible()
        page.context.close()
    node = nbformat.read(book, as_version=4)
    assert not [o for c in node.cells for o in c.get("outputs", []) if o.output_type == "error"]


def _finished(page: Page) -> bool:
    """The last cell has run, and none is waiting (a star in its prompt)."""
    prompts = page.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts()
    return (
        bool(prompts)
        and not [p for p in prompts if "*" in p]
        and any(p.strip("[]: ") for p in prompts)
    )


@contextmanager
def _jupyterlab(book: Path, repository: Path) -> Iterator[str]:
    """`kvmlab lab` on a copy of a notebook, as a person starts it; its address with its token."""
    config = book.parent / "config"
    config.mkdir()
    settings = {"LabApp": {"expose_app_in_browser": True}, "ServerApp": {"port_retries": 50}}
    (config / "jupyter_server_config.json").write_text(json.dumps(settings))
    environment = {
        **os.environ,
        "JUPYTER_TOKEN": "chosen-by-the-test",
        "JUPYTER_CONFIG_DIR": str(config),
        "JUPYTERLAB_WORKSPACES_DIR": str(config),
        "PYTHONPATH": str(repository),
    }
    port = 18_888
    command = [
        *(sys.executable, "-m", "kvmlab", "lab", str(book), "--no-browser", "--port", str(port))
    ]
    log = (book.parent / "jupyter.log").open("w")
    with log, subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process:
        try:
            base = f"http://127.0.0.1:{port}"
            until(
                lambda: _answers(f"{base}/api?token=chosen-by-the-test"),
                timeout_sec=60,
                what="JupyterLab's first answer",
            )
            yield f"{base}/lab/tree/{book.name}?token=chosen-by-the-test"
        finally:
            process.terminate()
            process.wait(30)


def _answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=2):
            return True
    except URLError:
        return False


def _hosts_of(pid: int) -> list[str]:
    """The embedded hosts that belong to a process or to one of its children."""
    mine = {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}
    return [host["run_dir"] for host in embedded.status() if host["owner_pid"] in mine]
