"""The article's claims on the passed-through NIC and on SR-IOV, as notebooks 03 and 04 show them.

Counts and paths are judged, and speeds only where their margin is wide.
"""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from kvmlab.results import Result
from kvmlab.runbook import Outcome, run
from tests.notebooks.executed import host_devices, stored_by_scheme, text, verdicts

pytestmark = [pytest.mark.host, pytest.mark.minutes(3), pytest.mark.timeout(1200)]

PASSTHROUGH, SRIOV = "03-pci-passthrough", "04-sr-iov"
# `lspci | grep "Virtual Function"`, in the article.
ARTICLES_VFS = [
    *(f"0000:0b:10.{function}" for function in range(8)),
    *(f"0000:0b:11.{function}" for function in range(6)),
]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Run both notebooks once for all the tests of this module."""
    out = tmp_path_factory.mktemp("run") / "out"
    return run(["03", "04"], out=out, console=Console(file=io.StringIO()))


def woken(result: Result) -> float:
    """Return the context switches of one packet of a ping."""
    return result.summary("context_switches_per_packet", "latency").median


def median(result: Result, metric: str, workload: str | None = None) -> float:
    """Return a metric: under the virtual clock, where trials differ by a few percent."""
    return result.summary(metric, workload).median


def test_a_passed_through_nic_is_in_the_vm_and_nowhere_else(done: Outcome) -> None:
    results = stored_by_scheme(done, PASSTHROUGH)
    vhost, passthrough = results["virtio-vhost"], results["passthrough"]
    assert host_devices(vhost) == ["tap", "bridge", "port"]
    assert host_devices(passthrough) == [], "no host device is in the hops"
    assert woken(passthrough) < woken(vhost) / 4, "no thread of the host is woken for a packet"
    assert median(passthrough, "rtt_p50_us") < 0.85 * median(vhost, "rtt_p50_us"), (
        "the path is shorter"
    )
    assert "e1000e" in text(done, PASSTHROUGH, "guest-driver")


@pytest.mark.parametrize("name", [PASSTHROUGH, SRIOV])
def test_the_default_run_confirms_every_claim(done: Outcome, name: str) -> None:
    decided = verdicts(done, name)
    assert len(decided) == 4
    assert set(decided.values()) == {"Confirmed"}, decided


def test_the_host_misses_its_port_meanwhile_and_has_it_back(done: Outcome) -> None:
    assert "group-not-viable" in text(done, PASSTHROUGH, "refused")
    away = text(done, PASSTHROUGH, "away")
    for lost in ("04:00.0 driver", "04:00.1 driver", "interface p1p1", "interface p1p2"):
        assert away.count(lost) == 1, away
    assert "Nothing differs" in text(done, PASSTHROUGH, "back")


def test_fourteen_vfs_at_the_addresses_of_the_article(done: Outcome) -> None:
    listed = text(done, SRIOV, "fourteen")
    assert [address for address in ARTICLES_VFS if address not in listed] == []
    assert text(done, SRIOV, "count").split() == [str(len(ARTICLES_VFS)), "VFs"]
    assert "Nothing differs" in text(done, SRIOV, "fourteen-gone")


def test_a_vf_is_in_the_vm_and_the_pf_still_serves_the_host(done: Outcome) -> None:
    results = stored_by_scheme(done, SRIOV)
    vhost, vf = results["virtio-vhost"], results["sriov-vf"]
    assert host_devices(vhost) == ["tap", "bridge", "port"]
    assert host_devices(vf) == []
    assert woken(vf) < woken(vhost) / 4
    assert median(vf, "rtt_p50_us") < 0.85 * median(vhost, "rtt_p50_us")
    cpu = [median(result, "cpu_us_per_packet", "tcp_up") for result in (vf, vhost)]
    assert cpu[0] < 0.9 * cpu[1], "a packet of a stream costs less"
    speed = [median(result, "tcp_up_mbps") for result in (vf, results["host"])]
    assert speed[0] > 0.8 * speed[1], "nearly as fast as the host's own port"
    assert "igbvf" in text(done, SRIOV, "guest-driver")
    reach = text(done, SRIOV, "reach")
    assert "p2p1" in reach, "the host is met at its PF"
    assert "no answer" not in reach
    assert "interface p2p1" not in text(done, SRIOV, "differences")


def test_what_the_pf_decides_is_set_by_libvirt_or_by_hand(done: Outcome) -> None:
    by_libvirt, untouched = text(done, SRIOV, "options-pool").splitlines()[-2:]
    assert "52:54:00" in by_libvirt
    assert "52:54:00" not in untouched
    by_hand = text(done, SRIOV, "options-bare").splitlines()[-2]
    assert by_hand.split()[2:] == ["7", "on", "off", "100", "auto"]
    assert "vf-option-unsupported" in text(done, SRIOV, "link-state"), "igb cannot set it"
    assert "vf 0 state disable" in text(done, SRIOV, "link-state-command")


def test_a_bridge_on_a_pf_with_vfs_is_a_trap_that_can_be_avoided(done: Outcome) -> None:
    (lost,) = (line for line in text(done, SRIOV, "cured").splitlines() if "no answer" in line)
    assert "cured" not in lost, "with learning off the peer answers"
    assert "bridge-on-port-with-vfs" in text(done, SRIOV, "refused")
