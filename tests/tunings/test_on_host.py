"""Tunings on the embedded host: each works as it says, has its effect, and leaves nothing."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kvmlab.advice import advise
from kvmlab.changes import leftovers, restore
from kvmlab.domain import TestVM
from kvmlab.errors import Unavailable
from kvmlab.facts import HostFacts, inspect
from kvmlab.measure import Trials
from kvmlab.schemes import SriovVf, Virtio
from kvmlab.tunings import tuned, values_of

if TYPE_CHECKING:
    from kvmlab.changes import Nic
    from kvmlab.hosts import Host
    from kvmlab.lab import Lab

pytestmark = [pytest.mark.host, pytest.mark.minutes(7), pytest.mark.timeout(600)]

VHOST = Virtio(backend="vhost")
#: The largest value of each, applied together in a few changes: what one leaves, the sum shows.
TOGETHER = (
    ("guest-tso=off", "guest-gso=off", "guest-gro=off", "tap-tso=off", "port-gro=off"),
    ("guest-tx-checksum=off", "large-receive=off", "tap-checksum=off", "port-rx-checksum=off"),
    ("guest-rx-checksum=off", "mrg-rxbuf=off", "event-idx=off", "port-tso=off", "port-gso=off"),
    ("offloads=off", "tx-ring=128", "tap-sndbuf=65536", "port-tx-checksum=off"),
    ("mtu=9000", "napi-tx=off", "tap-qdisc=fq_codel", "port-rx-usecs=100"),
    ("tap-txqueuelen=100", "tap-coalescing=32", "halt-poll-host=50000", "iommu-platform=on"),
    ("iptables-rules=10", "ebtables-rules=10", "tc-filters=10", "tcpdump=headers", "meters=twice"),
    ("br-netfilter=on", "port-xdp=generic", "zerocopy=on", "rx-ring=64"),
    ("vhost-thread=kernel", "port-xdp=native", "nwfilter=clean-traffic", "nft-rules=10"),
)
#: All that a VM has from its start, in one start; each costs half a minute and as much back.
RESTARTED = (
    "halt-poll-guest=50000",
    "serial-ports=31",
    "x2apic=off",
    "huge-pages=none",
    "mitigations-guest=auto",
    "viommu=strict",
)
#: A VF moves three times as much; one that drops what lies in two places, next to nothing.
GATHERED_MBPS = 500
KILLED = (TOGETHER[4], TOGETHER[6], ("swiotlb=force",))
# Not the carrier, which a port has again a moment later; nor an empty table of nftables, which has
# no hook.
STATE = """
quiet='s/ id [0-9]*//g; s/timer *[0-9.]*//g; s/NO-CARRIER,//; s/,LOWER_UP//; s/ state [A-Z]*//'
ip -d -o link show | sed "$quiet"
ip -n peer -o link show | sed "$quiet"
ethtool -k p2p1; ethtool -c p2p1; tc qdisc show dev p2p1 | sed 's/qdisc [a-z_]* [0-9a-f]*:/qdisc/'
cut -d' ' -f1 /proc/modules | grep -E '^(br_netfilter|iptable_filter|vhost_net)$'
iptables-nft-save 2>/dev/null | grep '^-'; ebtables -L
cat /sys/module/kvm/parameters/halt_poll_ns /sys/module/vhost_net/parameters/experimental_zcopytx
cat /sys/module/vhost/parameters/fork_from_owner_default
cat /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages
pgrep -a tcpdump; pgrep -fa "[s]econd-meters"
true
"""

_PARAMETERS = "/sys/module/virtio_net/parameters/"


def state(host: Host, vm: TestVM) -> str:
    """Return everything that a tuning could leave changed, on the host and in the VM."""
    words = ("sh", "-c", STATE)
    text = host.run(words, timeout_sec=60, root=True).stdout
    inside = vm.agent.run(
        (
            "sh",
            "-c",
            "ls /sys/class/net; cat /sys/module/virtio_net/parameters/*; cat /proc/cmdline",
        ),
        timeout_sec=60,
    ).stdout
    return text + inside + vm.xml(inactive=True)


def output(host: Host, *words: str) -> str:
    return host.run(words, timeout_sec=60, root=True).stdout


def in_vm(vm: TestVM, *words: str) -> str:
    return vm.agent.run(words, timeout_sec=120).stdout


@pytest.fixture
def facts(host: Host) -> HostFacts:
    return inspect(host, prove_kvm=False)


@pytest.mark.parametrize("names", TOGETHER, ids="+".join)
def test_tunings_are_applied_answer_and_are_undone(
    names: tuple[str, ...], facts: HostFacts, host: Host, vm: TestVM
) -> None:
    before = state(host, vm)
    with tuned(VHOST, *names).plan(facts, vm=vm).applied(vm) as nic:
        assert nic.scheme == "+".join(("virtio-vhost", *names))
        assert state(host, vm) != before
        ping = ("ping", "-n", "-q", "-c", "3", "-i", "0.2", nic.peer_ip)
        assert " 0% packet loss" in in_vm(vm, *ping)
    assert state(host, vm) == before
    assert leftovers(host) == ()


def test_every_tuning_is_tried_or_says_why_not(facts: HostFacts, vm: TestVM) -> None:
    tried = {name.partition("=")[0] for names in (*TOGETHER, RESTARTED, *KILLED) for name in names}
    refused = {}
    for tuning in values_of():
        if tuning.id in tried:
            continue
        try:
            tuned(VHOST, tuning).plan(facts, vm=vm)
        except Unavailable as error:
            refused[tuning.id] = error.message
        else:
            tried.add(tuning.id)
    assert sorted(refused) == ["avic", "in-order", "mitigations-host", "packed", "pinning"]
    assert "one CPU" in refused["pinning"]
    assert "QEMU emulates no AVIC" in refused["avic"]


def test_a_packed_ring_is_one_of_qemu(facts: HostFacts, vm: TestVM) -> None:
    with tuned(Virtio(), "packed=on").plan(facts, vm=vm).applied(vm) as nic:
        path = f"/sys/class/net/{nic.guest_interface}/device/features"
        assert in_vm(vm, "cat", path)[34] == "1"


def stream(lab: Lab, nic: Nic, *words: str) -> None:
    """Send TCP to the peer for a second, or what ``words`` say."""
    server = ("sh", "-c", f"ip netns exec peer iperf3 -s -1 -D -B {nic.peer_ip}")
    output(lab.host, *server)
    client = ("iperf3", "-c", nic.peer_ip, "-t", "1", *words)
    in_vm(lab.vm, "sh", "-c", f"sleep 0.3; exec {' '.join(client)}")


def counter(vm: TestVM, nic: Nic, name: str) -> int:
    path = f"/sys/class/net/{nic.guest_interface}/statistics/{name}"
    return int(in_vm(vm, "cat", path))


def bytes_per_send(lab: Lab, facts: HostFacts, *names: str) -> float:
    """Return how many bytes one buffer of the virtqueue takes to the host."""
    scheme = tuned(VHOST, *names) if names else VHOST
    with scheme.plan(facts, vm=lab.vm).applied(lab.vm) as nic:
        stream(lab, nic)
        return counter(lab.vm, nic, "tx_bytes") / counter(lab.vm, nic, "tx_packets")


def test_without_tso_a_buffer_holds_one_frame(lab: Lab, facts: HostFacts) -> None:
    assert bytes_per_send(lab, facts) > 4_000
    assert bytes_per_send(lab, facts, "guest-tso=off", "guest-gso=off") < 1_515
    assert 1_515 < bytes_per_send(lab, facts, "guest-tso=off", "guest-gso=off", "mtu=9000") < 9_015


def bytes_per_receive(lab: Lab, facts: HostFacts, *names: str) -> float:
    """Return how many bytes the VM's kernel gets in one piece of what the peer sends."""
    scheme = tuned(VHOST, *names) if names else VHOST
    with scheme.plan(facts, vm=lab.vm).applied(lab.vm) as nic:
        stream(lab, nic, "-R")
        return counter(lab.vm, nic, "rx_bytes") / counter(lab.vm, nic, "rx_packets")


@pytest.mark.parametrize("name", ["large-receive=off", "tap-tso=off", "port-gro=off"])
def test_without_large_packets_the_vm_gets_single_frames(
    name: str, lab: Lab, facts: HostFacts, merged_bytes: float
) -> None:
    assert merged_bytes > 3_000
    assert bytes_per_receive(lab, facts, name) < 1_515


@pytest.fixture(scope="module")
def merged_bytes(lab: Lab) -> float:
    """Return what the VM gets in one piece as it is."""
    return bytes_per_receive(lab, inspect(lab.host, prove_kvm=False))


def test_every_packet_to_the_vm_passes_its_queueing_discipline(
    facts: HostFacts, host: Host, vm: TestVM
) -> None:
    with tuned(VHOST, "tap-qdisc=pfifo").plan(facts, vm=vm).applied(vm) as nic:
        in_vm(vm, "ping", "-n", "-q", "-c", "10", "-i", "0.02", nic.peer_ip)
        shown = output(host, "tc", "-s", "qdisc", "show", "dev", str(nic.host_device))
        sent = re.search(r"pfifo .*\n Sent \d+ bytes (\d+) pkt", shown)
        assert sent is not None
        assert int(sent[1]) >= 10


def test_kvm_polls_where_it_is_told_to(facts: HostFacts, host: Host, vm: TestVM) -> None:
    polled = {}
    for names in (("rx-ring=1024",), ("halt-poll-host=200000",)):
        with tuned(VHOST, *names).plan(facts, vm=vm).applied(vm) as nic:
            attempts = ("cat", "/sys/kernel/debug/kvm/halt_attempted_poll")
            begin = int(output(host, *attempts))
            in_vm(vm, "ping", "-n", "-q", "-c", "500", "-i", "0.0002", nic.peer_ip)
            polled[names[0]] = int(output(host, *attempts)) - begin
    assert polled["rx-ring=1024"] == 0
    # KVM polls after a halt that ended within the limit, as those do between such echoes.
    assert polled["halt-poll-host=200000"] > 50


@pytest.mark.parametrize(
    "names",
    [
        ("offloads=off", "br-netfilter=on"),
        ("guest-tso=off", "port-gro=off", "port-rx-usecs=500", "tcpdump=whole"),
    ],
    ids="+".join,
)
def test_the_doctor_sees_tunings_and_the_adviser_says_what_they_cost(
    names: tuple[str, ...], lab: Lab
) -> None:
    with lab.plan(tuned(VHOST, *names)).applied(lab.vm):
        notes = advise(lab.inspect(), diagnosis=lab.doctor()).notes
    for name in names:
        (note,) = (note for note in notes if f"The atlas says of {name}" in note)
        assert "times that without it" in note
    assert not [
        note for note in advise(lab.inspect(), diagnosis=lab.doctor()).notes if "atlas" in note
    ]


def dropped_at_tap(lab: Lab, facts: HostFacts, *names: str) -> int:
    """Return the packets that the tap dropped while the peer sent small datagrams in a burst."""
    with tuned(VHOST, *names).plan(facts, vm=lab.vm).applied(lab.vm) as nic:
        stream(lab, nic, "-u", "-b", "0", "-l", "64", "-R")
        path = f"/sys/class/net/{nic.host_device}/statistics/tx_dropped"
        return int(output(lab.host, "cat", path))


def test_a_short_queue_drops_what_a_long_one_keeps(lab: Lab, facts: HostFacts) -> None:
    short = dropped_at_tap(lab, facts, "rx-ring=64", "tap-txqueuelen=100")
    long = dropped_at_tap(lab, facts, "rx-ring=1024", "tap-txqueuelen=10000")
    assert short > long


def test_nwfilter_sees_every_packet_of_the_vm(facts: HostFacts, host: Host, vm: TestVM) -> None:
    with tuned(VHOST, "nwfilter=clean-traffic").plan(facts, vm=vm).applied(vm) as nic:
        in_vm(vm, "ping", "-n", "-q", "-c", "10", "-i", "0.02", nic.peer_ip)
        rules = output(host, "ebtables", "-t", "nat", "-L", "--Lc")
        jump = re.search(rf"-i {nic.host_device} -j libvirt-I-\S+ , pcnt = (\d+)", rules)
        assert jump is not None
        assert int(jump[1]) >= 10
        # Another address of the VM's is dropped.
        spoof = ("ip", "address", "add", "192.0.2.99/32", "dev", nic.guest_interface)
        in_vm(vm, *spoof)
        ping = ("ping", "-n", "-q", "-c", "2", "-W", "1", "-I", "192.0.2.99", nic.peer_ip)
        assert vm.agent.run(ping, timeout_sec=60, check=False).returncode != 0
        assert re.search(
            r"-j DROP , pcnt = [1-9]", output(host, "ebtables", "-t", "nat", "-L", "--Lc")
        )


def test_rules_lie_in_the_way_of_every_packet(facts: HostFacts, host: Host, vm: TestVM) -> None:
    for tuning, tool in (("iptables-rules", "iptables-legacy"), ("nft-rules", "iptables-nft")):
        names = (f"{tuning}=100", "ebtables-rules=100")
        with tuned(VHOST, *names).plan(facts, vm=vm).applied(vm) as nic:
            in_vm(vm, "ping", "-n", "-q", "-c", "10", "-i", "0.02", nic.peer_ip)
            assert output(host, tool, "-L", "KVMLAB", "-v", "-n").count("DROP") == 100
            forward = output(host, tool, "-L", "FORWARD", "-v", "-n")
            line = next(line for line in forward.splitlines() if "KVMLAB" in line)
            assert int(line.split()[0]) >= 20
            assert output(host, "ebtables", "-L", "KVMLAB").count("DROP") == 100


@dataclass(frozen=True)
class StartedVm:
    """Costs of a VM on the host, and the states of its guest's idle loop."""

    translations: int
    eventfds: int
    huge_kib: int
    sleeps: str


def started(host: Host, vm: TestVM, nic: Nic) -> StartedVm:
    """Send echoes, and read what QEMU read, its descriptors and pages, the guest's idle loop."""
    calls = ("sed", "-n", "s/^syscr: //p", f"/proc/{vm.pid()}/io")
    begin = int(output(host, *calls))
    in_vm(vm, "ping", "-n", "-q", "-c", "50", "-i", "0.01", nic.peer_ip)
    asked = int(output(host, *calls)) - begin
    folder = f"/proc/{vm.pid()}"
    descriptors = output(host, "sh", "-c", f"for one in {folder}/fd/*; do readlink $one; done")
    pages = output(
        host, "sed", "-n", "s/^AnonHugePages: *\\([0-9]*\\) kB/\\1/p", f"{folder}/smaps_rollup"
    )
    idle = "cat /sys/devices/system/cpu/cpu0/cpuidle/state*/name 2>/dev/null; true"
    sleeps = in_vm(vm, "sh", "-c", idle)
    return StartedVm(asked, descriptors.count("anon_inode:[eventfd]"), int(pages), sleeps)


def test_a_vm_is_started_anew_with_what_it_has_from_its_start(
    facts: HostFacts, host: Host, vm: TestVM
) -> None:
    """Count what QEMU reads: vhost asks by a message for each translation that it misses."""
    before = state(host, vm)
    seen = []
    for names in (("iommu-platform=on",), RESTARTED):
        with tuned(VHOST, *names).plan(facts, vm=vm).applied(vm) as nic:
            seen.append(started(host, vm, nic))
    usual, anew = seen
    # An echo sends one buffer that is mapped anew, and receives into another.
    assert anew.translations > usual.translations + 50
    # Two for each of 31 ports of virtio-serial in place of 2.
    assert anew.eventfds >= usual.eventfds + 2 * 28
    # What is left is QEMU's own.
    assert anew.huge_kib < usual.huge_kib / 3
    assert "haltpoll" in anew.sleeps
    assert "haltpoll" not in usual.sleeps
    assert state(host, vm) == before


def test_a_vm_on_small_pages_sends_and_receives_through_a_vf(lab: Lab) -> None:
    """Measure where a buffer's pages lie anywhere in the host: the NIC has to gather them."""
    trials = Trials(count=1, workloads=("tcp_up", "tcp_down"), trace_path=False)
    plan = lab.plan(tuned(SriovVf(), "huge-pages=none"))
    (result,) = lab.compare(plan, trials=trials, jobs=1)
    assert result.summary("tcp_up_mbps", "tcp_up").median > GATHERED_MBPS
    assert result.summary("tcp_down_mbps", "tcp_down").median > GATHERED_MBPS


@pytest.mark.parametrize("names", KILLED, ids="+".join)
def test_a_run_that_is_killed_leaves_nothing_after_a_restore(
    names: tuple[str, ...], lab: Lab, host: Host, vm: TestVM, repository: Path
) -> None:
    before = state(host, vm)
    lease = lab.lease
    assert lease is not None
    login = {
        "address": lease.address,
        "port": lease.port,
        "user": lease.user,
        "key_path": str(lease.key_path),
        "known_hosts": str(lease.known_hosts),
    }
    words = (sys.executable, "-m", "tests.tunings.killed_process", json.dumps(login), *names)
    done = subprocess.run(
        words, cwd=repository, text=True, capture_output=True, timeout=300, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert leftovers(host)
    assert state(host, vm) != before
    assert restore(host)
    assert state(host, vm) == before
    assert restore(host) == ()
