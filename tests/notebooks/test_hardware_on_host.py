"""What the article claims of the exclusive NIC and of SR-IOV, as notebooks 03 and 04 show it.

Counts and paths are judged, and speeds only where their margin is wide.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import nbformat
import pytest
from rich.console import Console

from kvmlab.results import Result, load
from kvmlab.runbook import Outcome, run

pytestmark = [pytest.mark.host, pytest.mark.timeout(1200)]

CARD, SRIOV = "03-exclusive-nic", "04-sr-iov"
# `lspci | grep "Virtual Function"`, in the article.
ARTICLES_VFS = [
    *(f"0000:0b:10.{function}" for function in range(8)),
    *(f"0000:0b:11.{function}" for function in range(6)),
]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Both notebooks, run once for all the tests of this module."""
    out = tmp_path_factory.mktemp("run") / "out"
    return run(["03", "04"], given={"TRIALS": "1"}, out=out, console=Console(file=io.StringIO()))


def shown(done: Outcome, name: str, cell_id: str) -> str:
    """The plain text that a cell of an executed notebook shows."""
    node = nbformat.read(done.folder / "notebooks" / f"{name}.ipynb", as_version=4)
    (cell,) = (cell for cell in node.cells if cell.id == cell_id)
    texts = [out.get("text", "") or out.get("data", {}) for out in cell.outputs]
    return "\n".join(
        part if isinstance(part, str) else part.get("text/markdown", part.get("text/plain", ""))
        for part in texts
    )


def kept(done: Outcome, name: str) -> dict[str, Result]:
    """The results that a notebook kept, by their schemes."""
    folders = [path.parent for path in Path(done.folder / "results" / name).glob("*/results.json")]
    return {result.scheme: result for folder in folders for result in load(folder)}


def on_host(result: Result) -> list[str]:
    """The kinds of the host's devices that a ping from the VM passed."""
    assert result.path is not None
    return [hop.kind for hop in result.path.leg("request") if hop.side == "host"]


def woken(result: Result) -> float:
    """Context switches for one packet of a ping."""
    return result.summary("context_switches_per_packet", "latency").median


def median(result: Result, metric: str, workload: str | None = None) -> float:
    """Under the virtual clock, where trials differ by a few percent, figures are judged as well."""
    return result.summary(metric, workload).median


def test_an_exclusive_nic_is_in_the_vm_and_nowhere_else(done: Outcome) -> None:
    results = kept(done, CARD)
    vhost, card = results["virtio-vhost"], results["passthrough"]
    assert on_host(vhost) == ["tap", "bridge", "port"]
    assert on_host(card) == [], "no host device is in the hops"
    assert woken(card) < woken(vhost) / 4, "nobody on the host is woken for a packet"
    assert median(card, "rtt_p50_us") < 0.85 * median(vhost, "rtt_p50_us"), "the way is shorter"
    assert "e1000e" in shown(done, CARD, "guest-driver")


def test_the_host_misses_its_port_meanwhile_and_has_it_back(done: Outcome) -> None:
    assert "group-not-viable" in shown(done, CARD, "refused")
    away = shown(done, CARD, "away")
    for lost in ("04:00.0 driver", "04:00.1 driver", "interface p1p1", "interface p1p2"):
        assert away.count(lost) == 1, away
    assert "Nothing differs" in shown(done, CARD, "back")


def test_fourteen_vfs_at_the_addresses_of_the_article(done: Outcome) -> None:
    listed = shown(done, SRIOV, "fourteen")
    assert [address for address in ARTICLES_VFS if address not in listed] == []
    assert json.loads(shown(done, SRIOV, "count")) == len(ARTICLES_VFS)
    assert "Nothing differs" in shown(done, SRIOV, "fourteen-gone")


def test_a_vf_is_in_the_vm_and_the_pf_still_serves_the_host(done: Outcome) -> None:
    results = kept(done, SRIOV)
    vhost, vf = results["virtio-vhost"], results["sriov-vf"]
    assert on_host(vhost) == ["tap", "bridge", "port"]
    assert on_host(vf) == []
    assert woken(vf) < woken(vhost) / 4
    assert median(vf, "rtt_p50_us") < 0.85 * median(vhost, "rtt_p50_us")
    cpu = [median(one, "cpu_us_per_packet", "tcp_up") for one in (vf, vhost)]
    assert cpu[0] < 0.9 * cpu[1], "a packet of a stream costs less"
    speed = [median(one, "tcp_up_mbps") for one in (vf, results["host"])]
    assert speed[0] > 0.8 * speed[1], "nearly as fast as the host's own port"
    assert "igbvf" in shown(done, SRIOV, "guest-driver")
    reach = shown(done, SRIOV, "reach")
    assert "p2p1" in reach, "the host is met at its PF"
    assert "no answer" not in reach
    assert "interface p2p1" not in shown(done, SRIOV, "differences")


def test_what_the_pf_decides_is_set_by_libvirt_or_by_hand(done: Outcome) -> None:
    by_libvirt, untouched = shown(done, SRIOV, "knobs-pool").splitlines()[-2:]
    assert "52:54:00" in by_libvirt
    assert "52:54:00" not in untouched
    by_hand = shown(done, SRIOV, "knobs-bare").splitlines()[-2]
    assert by_hand.split()[2:] == ["7", "on", "off", "100", "auto"]
    assert "sriov-missing" in shown(done, SRIOV, "link-state"), "igb cannot set it"
    assert "vf 0 state disable" in shown(done, SRIOV, "link-state-command")


def test_a_bridge_on_a_pf_with_vfs_is_a_trap_that_can_be_avoided(done: Outcome) -> None:
    (lost,) = (line for line in shown(done, SRIOV, "cured").splitlines() if "no answer" in line)
    assert "cured" not in lost, "with learning off the peer answers"
    assert "bridge-on-port-with-vfs" in shown(done, SRIOV, "refused")
