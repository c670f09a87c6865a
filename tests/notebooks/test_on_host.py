"""The notebooks on the embedded host: by a run, by plain papermill, and killed.

One run of the first three serves most tests. What the article claims of each scheme is looked for
in what the notebooks kept and showed: counts and paths, and seconds where their margin is wide.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import psutil
import pytest
from rich.console import Console

from kvmlab import embedded, open_lab
from kvmlab.changes import leftovers
from kvmlab.errors import RunFailed
from kvmlab.results import Result
from kvmlab.runbook import Outcome, run
from kvmlab.runbook.notebooks import notebook_folder
from tests.notebooks.executed import host_devices, stored, table, text, verdicts, widgets
from tests.runbook.builders import notebook

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.host, pytest.mark.minutes(5)]

PARAMETERS = 'HOST: str = "embedded"  # host\nOUT: str = "results"  # folder'
APPLY_AND_DIE = (
    "import os, signal, kvmlab\n"
    "lab = kvmlab.open_lab(HOST)\n"
    "with lab.plan(kvmlab.Virtio()).applied(lab.vm) as nic:\n"
    "    os.kill(os.getpid(), signal.SIGKILL)"
)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Run the notebooks once for all the tests of this module."""
    out = tmp_path_factory.mktemp("run") / "out"
    return run(["00", "01", "02"], out=out, console=Console(file=io.StringIO()))


def test_a_headless_run_shows_no_widget(done: Outcome) -> None:
    """Nobody could click it."""
    names = [path.stem for path in (done.folder / "notebooks").glob("*.ipynb")]
    assert len(names) == 3
    assert [widgets(done, name) for name in names] == [[], [], []]


def emitter(result: Result) -> str:
    """Return the thread that handed the VM's packet to the host."""
    assert result.path is not None
    return next(hop.carrier for hop in result.path.leg("request") if hop.side == "host")


def per_packet(result: Result, cost: str) -> float:
    return result.summary(f"{cost}_per_packet", "tcp_up").median


def median(result: Result, metric: str) -> float:
    """Return a metric: under the virtual clock, where trials differ by a few percent."""
    return result.summary(metric).median


def spent(result: Result, cost: str, part: str) -> float:
    """Return one part of a cost over the windows of all TCP trials."""
    return sum(trial.cost(cost, part) or 0.0 for trial in result.of("tcp_up"))


def test_the_path_was_traced_through_every_layer(done: Outcome) -> None:
    (traced,) = stored(done, "00-packet-path")
    assert host_devices(traced) == ["tap", "bridge", "port"]
    assert emitter(traced) == "QEMU main loop"
    assert list((done.folder / "results" / "00-packet-path").glob("*/facts.json"))


def test_virtio_costs_fewer_exits_than_full_emulation(done: Outcome) -> None:
    slow, fast = stored(done, "01-full-emulation-and-virtio")
    assert (slow.scheme, fast.scheme) == ("e1000", "virtio-qemu")
    assert per_packet(slow, "vm_exits") > 6 * per_packet(fast, "vm_exits")
    assert per_packet(slow, "userspace_exits") > 10 * per_packet(fast, "userspace_exits")
    assert host_devices(slow) == host_devices(fast) == ["tap", "bridge", "port"]
    assert (emitter(slow), emitter(fast)) == ("vCPU thread of QEMU", "QEMU main loop")
    assert median(fast, "tcp_up_mbps") > 2 * median(slow, "tcp_up_mbps"), "throughput follows"


def test_vhost_moves_the_work_from_qemu_into_the_kernel(done: Outcome) -> None:
    qemu, vhost, _, _ = stored(done, "02-vhost-net-and-macvtap")
    assert (qemu.scheme, vhost.scheme) == ("virtio-qemu", "virtio-vhost")
    assert host_devices(qemu) == host_devices(vhost)
    assert (emitter(qemu), emitter(vhost)) == ("QEMU main loop", "vhost worker")
    assert spent(qemu, "cpu_us", "vhost worker") == 0
    assert spent(vhost, "cpu_us", "vhost worker") > 0
    loop = [spent(result, "context_switches", "QEMU main loop") for result in (qemu, vhost)]
    assert loop[0] > 20 * (loop[1] + 1)
    assert per_packet(vhost, "userspace_exits") < 0.01
    assert per_packet(vhost, "cpu_us") < per_packet(qemu, "cpu_us"), "a packet is cheaper"
    assert median(vhost, "rtt_p50_us") < median(qemu, "rtt_p50_us") / 2, (
        "and its round trip shorter"
    )
    workers = table(done, "02-vhost-net-and-macvtap", "emitters").set_index("scheme")["thread"]
    assert workers[vhost.label].startswith("vhost-")
    without, with_nic = text(done, "02-vhost-net-and-macvtap", "prove-count").splitlines()
    assert "no vhost worker" in without
    assert re.search(r"vhost worker \d+ \(thread of QEMU\)", with_nic), with_nic


def test_macvtap_leaves_the_bridge_out_and_an_emulated_nic_stays_expensive(done: Outcome) -> None:
    _, vhost, direct, emulated = stored(done, "02-vhost-net-and-macvtap")
    assert "bridge" in host_devices(vhost)
    assert host_devices(direct) == host_devices(emulated) == ["macvtap", "port"]
    assert (emitter(direct), emitter(emulated)) == ("vhost worker", "vCPU thread of QEMU")
    assert per_packet(emulated, "userspace_exits") > 10 * per_packet(direct, "userspace_exits")
    assert median(emulated, "rtt_p50_us") > 2 * median(direct, "rtt_p50_us")


def test_macvtap_keeps_host_and_vm_apart_and_filters_by_mac(done: Outcome) -> None:
    frame = table(done, "02-vhost-net-and-macvtap", "reach-table").set_index("scheme")
    directions = ["VM → peer", "VM → host", "host → VM"]
    bridge, macvtap = (list(row) for row in frame[directions].to_numpy())
    assert bridge == ["answers"] * 3
    assert macvtap == ["answers", "no answer", "no answer"]
    trust = table(done, "02-vhost-net-and-macvtap", "trust-table")["VM → peer"]
    assert list(trust) == ["answers", "no answer", "answers"]


@pytest.mark.parametrize("name", ["01-full-emulation-and-virtio", "02-vhost-net-and-macvtap"])
def test_the_default_run_confirms_every_claim(done: Outcome, name: str) -> None:
    decided = verdicts(done, name)
    assert len(decided) >= 3
    assert set(decided.values()) == {"Confirmed"}, decided


def test_the_data_are_one_table(done: Outcome) -> None:
    rows = pd.read_csv(done.folder / "data.csv")
    parts = rows.groupby("notebook")["scheme"].unique().apply(set)
    # The last is the panel's.
    assert parts["01-full-emulation-and-virtio"] == {"e1000", "virtio-qemu", "e1000e"}
    assert {"virtio-vhost", "macvtap", "macvtap-e1000"} < parts["02-vhost-net-and-macvtap"]
    assert set(rows["trial"]) == {1, 2, 3}
    assert rows["emulated"].str.contains("Embedded host").all()


def test_the_report_shows_its_figures_without_a_network(done: Outcome, browser: Browser) -> None:
    with browser.new_context(offline=True) as context:
        page = context.new_page()
        page.goto(done.report.as_uri())
        count = page.locator("figure.plot").count()
        assert count >= 6
        page.wait_for_function(
            "n => document.querySelectorAll('figure[data-drawn]').length === n", arg=count
        )
        words = page.inner_text("main")
    assert "The path of one ping: virtio, QEMU back end" in words
    assert "Throughput, latency and cost: e1000, fully emulated against virtio" in words
    assert "What a packet costs" in words
    assert "Traceback" not in words


def test_plain_papermill_runs_a_notebook_too(tmp_path: Path) -> None:
    before = _hosts_of(os.getpid())  # the one that other tests share
    executed = tmp_path / "out.ipynb"
    command = [
        "papermill",
        str(notebook_folder() / "00-packet-path.ipynb"),
        str(executed),
        "-p",
        "OUT",
        "x",
    ]
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
    """Return the embedded hosts of a process and of its children."""
    mine = {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}
    return [host["run_dir"] for host in embedded.status() if host["owner_pid"] in mine]
