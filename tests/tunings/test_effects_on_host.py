"""Effects of tunings that are mechanical, as counts and states: who was called, and how often.

Each counts what the tuning is about: calls of a function of the kernel, packets at a filter,
interrupts, descriptors. Speeds are the atlas's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from kvmlab.doctor import Finding, Verdict, examine
from kvmlab.domain.description import LabVm
from kvmlab.facts import HostFacts, Rule, inspect
from kvmlab.schemes import Virtio
from kvmlab.tunings import tuned
from tests.tunings.kernel_calls import calls, calls_where, order

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from kvmlab.changes import Nic
    from kvmlab.lab import Lab

pytestmark = [pytest.mark.host, pytest.mark.minutes(7), pytest.mark.timeout(600)]

VHOST = Virtio(backend="vhost")
ECHOES = 20
#: Print how often programs of XDP and eBPF ran: of one by its id, or of all that processes hold.
RUNS_OF_PROGRAM = """
my $attributes = pack("LLL", $ARGV[0], 0, 0) . "\\0" x 116;
my $fd = syscall(321, 13, $attributes, 128);    # bpf, BPF_PROG_GET_FD_BY_ID
open(my $file, "<", "/proc/self/fdinfo/$fd") or die "no program $ARGV[0]\\n";
print grep { /^run_cnt/ } <$file>;
"""
RUNS_OF_SECOND_METERS = """
for path in /proc/[0-9]*; do
    case $(tr '\\0' ' ' <"$path/cmdline" 2>/dev/null) in
        'perl - '*) ;;
        *) continue ;;
    esac
    parent=$(sed -n 's/^PPid:[[:space:]]*//p' "$path/status")
    tr '\\0' ' ' <"/proc/$parent/cmdline" | grep -q 'second-meters' || continue
    cat "$path"/fdinfo/* | grep '^run_cnt'
done
"""


@dataclass(frozen=True)
class TunedHost:
    """The host with its VM, and the interface under test."""

    lab: Lab
    facts: HostFacts

    @property
    def port(self) -> str:
        """The port that is in the lab's bridge."""
        assert self.facts.cable is not None
        return self.facts.cable.port

    def tuned(self, *names: str) -> AbstractContextManager[Nic]:
        """Apply virtio with vhost and these tunings."""
        scheme = tuned(VHOST, *names) if names else VHOST
        return scheme.plan(self.facts, vm=self.lab.vm).applied(self.lab.vm)

    def host(self, *words: str) -> str:
        """Return what a program on the host prints."""
        return self.lab.host.run(words, timeout_sec=60, root=True).stdout

    def guest(self, *words: str) -> str:
        """Return what a program inside the VM prints."""
        return self.lab.vm.agent.run(words, timeout_sec=120).stdout

    def ping(self, nic: Nic) -> None:
        """Send a few echoes."""
        words = ("ping", "-n", "-q", "-c", str(ECHOES), "-i", "0.02", nic.peer_ip)
        assert " 0% packet loss" in self.guest(*words)

    def stream(self, nic: Nic, *words: str) -> None:
        """Send TCP to the peer for a second, or what ``words`` of iperf3 say."""
        server = f"ip netns exec peer iperf3 -s -1 -D -B {nic.peer_ip}"
        self.host("sh", "-c", server)
        client = " ".join(("iperf3", "-c", nic.peer_ip, "-t", "1", *words))
        self.guest("sh", "-c", f"sleep 0.3; exec {client}")

    def statistic(self, nic: Nic, name: str) -> int:
        """Return a counter of the VM's interface."""
        return int(self.guest("cat", f"/sys/class/net/{nic.guest_interface}/statistics/{name}"))

    def findings(self, *rules: Rule) -> list[Finding]:
        """Return what the doctor says now of host and VM, by each of the rules."""
        diagnosis = examine(self.lab.host, facts=self.facts, vm=self.lab.vm)
        return [diagnosis.finding(rule) for rule in rules]

    def reserved_kib(self) -> int:
        """Return how much of the VM's process lies on reserved huge pages."""
        text = self.host("cat", f"/proc/{self.lab.vm.pid()}/smaps_rollup")
        return sum(map(int, re.findall(r"^(?:Shared|Private)_Hugetlb: +(\d+) kB$", text, re.M)))

    def interrupts(self, run: Callable[..., str], pattern: str) -> int:
        """Return the number of interrupts of all lines that ``pattern`` matches."""
        lines = run("cat", "/proc/interrupts").splitlines()
        counts = [
            int(word)
            for line in lines
            if re.search(pattern, line)
            for word in line.split()[1:]
            if word.isdecimal()
        ]
        assert counts, f"no interrupt is of {pattern}"
        return sum(counts)


@pytest.fixture
def site(lab: Lab) -> TunedHost:
    return TunedHost(lab, inspect(lab.host, prove_kvm=False))


@pytest.fixture
def counted_programs(site: TunedHost) -> Iterator[None]:
    """Have the kernel count how often each program of eBPF runs."""
    site.host("sysctl", "-qw", "kernel.bpf_stats_enabled=1")
    yield
    site.host("sysctl", "-qw", "kernel.bpf_stats_enabled=0")


@pytest.mark.parametrize("mode", ["native", "generic"])
@pytest.mark.usefixtures("counted_programs")
def test_the_program_of_xdp_runs_for_every_frame(mode: str, site: TunedHost) -> None:
    with site.tuned(f"port-xdp={mode}") as nic:
        link = site.host("ip", "-d", "link", "show", "dev", site.port)
        program = re.search(r"prog/xdp id (\d+)", link)
        assert program is not None, link
        assert ("xdpgeneric" in link) == (mode == "generic")
        site.ping(nic)
        (line,) = site.host("perl", "-e", RUNS_OF_PROGRAM, program[1]).splitlines()
        assert int(line.split()[1]) >= ECHOES


@pytest.mark.usefixtures("counted_programs")
def test_filters_hooks_and_watchers_look_at_every_packet(site: TunedHost) -> None:
    names = ("tc-filters=10", "br-netfilter=on", "tcpdump=headers", "meters=twice")
    with site.tuned(*names) as nic:
        with calls(site.host, "br_nf_pre_routing", "tpacket_rcv") as counts:
            site.ping(nic)
        # There and back again.
        assert counts["br_nf_pre_routing"] >= 2 * ECHOES
        assert counts["tpacket_rcv"] >= 2 * ECHOES
        for hook in ("ingress", "egress"):
            words = ("tc", "-s", "filter", "show", "dev", site.port, hook)
            hits = re.findall(r"\(rule hit (\d+) success (\d+)\)", site.host(*words))
            assert len(hits) >= 10
            assert all(int(hit) >= ECHOES and int(success) == 0 for hit, success in hits)
        runs = [
            int(line.split()[1])
            for line in site.host("sh", "-c", RUNS_OF_SECOND_METERS).splitlines()
        ]
        assert len(runs) == 10
        assert sum(count > 0 for count in runs) >= 8


#: Cut a large packet; sum up what is sent; sum up what is received and merged.
BY_HAND = ("skb_segment", "skb_checksum_help", "__skb_gro_checksum_complete")


def test_the_kernel_cuts_and_sums_up_what_the_port_does_not(site: TunedHost) -> None:
    done = []
    # Without checksums the port does not cut either.
    for names in ((), ("port-tso=off",), ("port-tx-checksum=off", "port-rx-checksum=off")):
        with site.tuned(*names) as nic, calls(site.host, *BY_HAND) as counts:
            site.stream(nic)
            site.stream(nic, "-R")
        done.append(counts)
    by_port, cut, summed = done
    assert by_port["skb_segment"] == 0
    assert cut["skb_segment"] > 500
    # The connection by which the host is asked has sums of its own.
    assert summed["skb_checksum_help"] > 4 * by_port["skb_checksum_help"]
    assert summed["__skb_gro_checksum_complete"] > 50 * by_port["__skb_gro_checksum_complete"]


def test_the_guest_merges_where_the_host_does_not(site: TunedHost) -> None:
    pieces = {}
    for names in ((), ("guest-gro=off",)):
        with (
            site.tuned("large-receive=off", *names) as nic,
            calls(site.guest, "tcp_v4_rcv") as counts,
        ):
            site.stream(nic, "-R")
            frames = site.statistic(nic, "rx_packets")
        pieces[names] = counts["tcp_v4_rcv"] / frames
    merged, single = pieces.values()
    assert merged < 0.3
    # Connections inside the VM may add to it.
    assert single > 0.95


def test_without_checksums_or_large_packets_the_vm_gets_single_frames(site: TunedHost) -> None:
    for name in ("guest-rx-checksum=off", "tap-checksum=off", "offloads=off"):
        with site.tuned(name) as nic:
            site.stream(nic, "-R")
            received = site.statistic(nic, "rx_bytes") / site.statistic(nic, "rx_packets")
            assert received < 1_515, name


def test_without_checksums_the_vm_sends_single_frames(site: TunedHost) -> None:
    for name in ("guest-tx-checksum=off", "offloads=off"):
        with site.tuned(name) as nic:
            site.stream(nic)
            sent = site.statistic(nic, "tx_bytes") / site.statistic(nic, "tx_packets")
            assert sent < 1_515, name


def test_tcp_is_cut_late_whatever_the_nic_has_of_gso(site: TunedHost) -> None:
    # Since Linux 4.17 TCP does not ask.
    for names in (("guest-tso=off",), ("guest-tso=off", "guest-gso=off")):
        with (
            site.tuned(*names) as nic,
            calls(site.guest, "skb_segment", "ip_queue_xmit") as counts,
        ):
            site.stream(nic)
            sent = site.statistic(nic, "tx_packets")
            state = site.guest("ethtool", "-k", nic.guest_interface)
        assert f"generic-segmentation-offload: {'off' if names[1:] else 'on'}" in state
        assert counts["skb_segment"] > 100, names
        assert sent / counts["ip_queue_xmit"] > 3, names


def test_a_large_packet_takes_one_buffer_where_the_device_may_not_join_them(
    site: TunedHost,
) -> None:
    buffers = {}
    for names in ((), ("mrg-rxbuf=off",)):
        filled = ("virtqueue_add_inbuf", "virtqueue_add_inbuf_ctx")
        with site.tuned(*names) as nic, calls(site.guest, *filled) as counts:
            site.stream(nic, "-R")
            received = site.statistic(nic, "rx_packets")
        # What the VM has used up it fills again.
        buffers[names] = sum(counts.values()) / received
    joined, single = buffers.values()
    assert joined > 2
    assert single < 1.1


def test_a_short_transmit_ring_stops_the_guests_queue(site: TunedHost) -> None:
    # The driver wakes a queue that it had stopped for want of room: bit 0 of its state.
    woken = ("netif_tx_wake_queue", "dev_queue->state", "value & 1")
    stops = {}
    for names in ((), ("tx-ring=64",)):
        with site.tuned(*names) as nic, calls_where(site.guest, *woken) as counts:
            site.stream(nic, "-u", "-b", "0", "-l", "64")
        (stops[names],) = counts
    long, short = stops.values()
    assert long == 0
    assert short > 100


def test_frames_wait_in_the_tap_for_others(site: TunedHost) -> None:
    # Without a send buffer of the tap vhost hands over batches of its own.
    buffer = "tap-sndbuf=1048576"
    batched = {}
    for names in ((buffer,), (buffer, "tap-coalescing=32")):
        steps = ("tun_sendmsg", "netif_receive_skb")
        with site.tuned(*names) as nic, order(site.host, "vhost", *steps) as seen:
            site.stream(nic, "-u", "-b", "0", "-l", "64")
        passed_on = seen.count("netif_receive_skb")
        after_another = sum(pair == ("netif_receive_skb",) * 2 for pair in pairwise(seen))
        batched[names] = after_another / passed_on
    single, coalesced = batched.values()
    assert single < 0.01
    assert coalesced > 0.5


def test_zero_copy_passes_the_guests_pages_on(site: TunedHost) -> None:
    with site.tuned("zerocopy=on") as nic:
        # It was vhost_zerocopy_callback before Linux 6.10.
        words = ("grep", "-o", " vhost_zerocopy_c[a-z]*", "/proc/kallsyms")
        (done,) = site.host(*words).split()
        with calls(site.host, done) as passed:
            site.stream(nic)
    with site.tuned() as nic, calls(site.host, done) as copied:
        site.stream(nic)
    assert copied[done] == 0
    assert passed[done] > 100


def test_a_full_send_buffer_makes_the_back_end_come_again(site: TunedHost) -> None:
    again = {}
    for names in ((), ("tap-sndbuf=65536",)):
        with site.tuned(*names) as nic, calls(site.host, "vhost_discard_vq_desc") as counts:
            site.stream(nic)
        again[names] = counts["vhost_discard_vq_desc"]
    unlimited, limited = again.values()
    assert unlimited == 0
    assert limited > 10


@dataclass(frozen=True)
class Notifications:
    """Notifications of small datagrams that the VM sends, both ways; the port's of a stream."""

    kicks: int
    sent: int
    completions: int
    port_interrupts: int


def notifications(site: TunedHost, *names: str) -> Notifications:
    """Count with these tunings."""
    with site.tuned(*names) as nic:
        site.stream(nic, "-u", "-b", "0", "-l", "64")
        kicks = re.search(
            r"^\s*tx_kicks: (\d+)$", site.guest("ethtool", "-S", nic.guest_interface), re.M
        )
        assert kicks is not None
        sent = site.statistic(nic, "tx_packets")
        completions = site.interrupts(site.guest, r"virtio\d+-output")
        before = site.interrupts(site.host, rf"{site.port}-")
        site.stream(nic)
        port_interrupts = site.interrupts(site.host, rf"{site.port}-") - before
    return Notifications(int(kicks[1]), sent, completions, port_interrupts)


def test_marks_polling_and_throttling_save_notifications(site: TunedHost) -> None:
    usual = notifications(site)
    # Without marks nearly each packet is told to the host.
    flagged = notifications(site, "event-idx=off")
    assert flagged.kicks / flagged.sent > 2 * usual.kicks / usual.sent
    seldom = notifications(site, "napi-tx=off", "port-rx-usecs=500")
    assert seldom.completions < usual.completions / 20
    assert seldom.port_interrupts < 0.75 * usual.port_interrupts


def test_a_worker_of_the_kernel_is_no_thread_of_qemu(site: TunedHost) -> None:
    with site.tuned("vhost-thread=kernel"):
        threads = site.lab.vm.threads()
    assert threads.vhost_kernel == threads.vhost != ()
    with site.tuned():
        assert site.lab.vm.threads().vhost_kernel == ()


def test_what_a_nic_sends_and_receives_bounces_where_it_has_to(site: TunedHost) -> None:
    # Where nothing needs the area the kernel has none.
    look = (
        "mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null\n"
        "cat /sys/kernel/debug/swiotlb/io_tlb_used || echo 0"
    )
    functions = ("dma_map_page_attrs", "swiotlb_tbl_map_single")
    used, sent, copying = {}, {}, {}
    with site.tuned() as nic, calls(site.guest, *functions) as plain:
        site.ping(nic)
    assert set(plain.values()) == {0}
    for names in (("iommu-platform=on",), ("swiotlb=force",)):
        with site.tuned(*names) as nic, calls(site.guest, *functions) as counts:
            site.ping(nic)
            used[names] = int(site.guest("sh", "-c", look))
            (bouncing, asking) = site.findings(Rule.BOUNCE_BUFFERS, Rule.VHOST_IOMMU)
            copying[names] = bouncing.subjects
            # Without an IOMMU in the VM there is nothing to ask.
            assert asking.verdict is Verdict.OK
        # The NIC's addresses go through the DMA layer in both.
        assert counts["dma_map_page_attrs"] >= ECHOES, names
        sent[names] = counts["swiotlb_tbl_map_single"]
    mapped, bounced = used
    assert (sent[mapped], used[mapped]) == (0, 0)
    assert sent[bounced] >= ECHOES
    # The buffers of the receiving ring wait there.
    assert used[bounced] > 100
    assert (copying[mapped], copying[bounced]) == ((), (site.lab.vm.name,))


def test_what_a_guest_has_from_its_start(site: TunedHost) -> None:
    by_msr, in_all = "kvm_x2apic_msr_write", "kvm_lapic_reg_write"
    look = "cd /sys/devices/system/cpu/vulnerabilities && grep -l ^Vulnerable * || true"
    anew = ("x2apic=off", "mitigations-guest=auto", "huge-pages=reserved", "viommu=caching")
    writes, verdicts, open_bugs, reserved_kib, invalidated = {}, {}, {}, {}, {}
    for names in ((), anew):
        with site.tuned(*names) as nic:
            with calls(site.host, by_msr, in_all) as counts:
                site.ping(nic)
            with calls(site.guest, "qi_submit_sync") as sent:
                site.ping(nic)
            rules = (Rule.X2APIC_MISSING, Rule.VHOST_IOMMU)
            verdicts[names] = [finding.verdict for finding in site.findings(*rules)]
            open_bugs[names] = set(site.guest("sh", "-c", look).split())
            reserved_kib[names] = site.reserved_kib()
        writes[names], invalidated[names] = counts, sent["qi_submit_sync"]
    usual, other = writes
    assert 0 < writes[usual][in_all] <= writes[usual][by_msr]
    assert writes[other][by_msr] == 0 < writes[other][in_all]
    assert (verdicts[usual], verdicts[other]) == ([Verdict.OK] * 2, [Verdict.WARNING] * 2)
    assert (reserved_kib[usual], reserved_kib[other]) == (0, LabVm().memory_mib * 1024)
    # Each buffer that is sent is told when it is mapped and when it no longer is.
    assert invalidated[usual] == 0
    assert invalidated[other] >= 2 * ECHOES
    assert open_bugs[usual] >= {"spectre_v1", "spectre_v2"}
    assert open_bugs[other] < open_bugs[usual]
    assert not open_bugs[other] & {"spectre_v1", "spectre_v2"}
