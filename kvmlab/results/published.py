"""Published figures, as ratios to the bare metal of the same source.

Only verified figures are listed. None was found for e1000 on 10G, for macvtap, or for virtio and a
VF on one 10G host.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Quality = Literal["paper", "paper, derived", "documented test", "informal"]
Kind = Literal["tcp", "latency", "packets", "load"]


@dataclass(frozen=True)
class Published:
    """One published figure.

    ``schemes`` are ids of schemes, several where the source does not say which, none for a scheme
    that the lab does not have (``label`` names it). ``value`` is quoted from the source; ``low`` …
    ``high`` is its ratio to the source's own bare metal, None where the source has none.
    """

    schemes: tuple[str, ...]
    label: str
    kind: Kind
    value: str
    low: float | None
    high: float | None
    source: str
    year: int | None
    quality: Quality

    @property
    def ratio(self) -> float | None:
        """Middle of the ratio; None where the source has no bare metal."""
        if self.low is None or self.high is None:
            return None
        return (self.low + self.high) / 2


_VIRTIO: Final = ("virtio-qemu", "virtio-vhost")
_DONG: Final = "Dong et al., HPCA, doi 10.1109/HPCA.2010.5416637"
_ELI: Final = "derived from ELI, Gordon et al., ASPLOS"
_VIRTINK: Final = "virtink docs/vhost-user-net-test.md"
_WANG: Final = "wangzheng422, KVM NIC performance"
_SHELL: Final = "a public shell lab, its expected output"
_NETKVM: Final = "kvm-guest-drivers-windows issue 237"
_OPNSENSE: Final = "opnsense/src issue 163"


def _one(
    schemes: tuple[str, ...],
    label: str,
    kind: Kind,
    value: str,
    ratio: float | tuple[float, float] | None,
    source: str,
    year: int | None,
    quality: Quality,
) -> Published:
    low, high = ratio if isinstance(ratio, tuple) else (ratio, ratio)
    return Published(schemes, label, kind, value, low, high, source, year, quality)


#: Every verified figure, in the order of the article's schemes.
PUBLISHED: Final[tuple[Published, ...]] = (
    _one(("e1000",), "e1000, user networking", "tcp", "0.65 Gb/s", None,
         _SHELL, None, "informal"),
    _one(_VIRTIO, "virtio, user networking", "tcp", "2.10 Gb/s", None,
         _SHELL, None, "informal"),
    _one(_VIRTIO, "virtio on a bridge, 25G", "tcp", "10.72 Gb/s (bare 23.5)", 10.72 / 23.5,
         _VIRTINK, None, "documented test"),
    _one(_VIRTIO, "virtio on a bridge, 25G", "latency", "48.1 µs (bare 13)", 48.1 / 13,
         _VIRTINK, None, "documented test"),
    _one(_VIRTIO, "virtio on a bridge, 25G", "packets", "172 kpps of 64 B UDP", None,
         _VIRTINK, None, "documented test"),
    _one(_VIRTIO, "virtio NAT, baseline", "tcp", "9.24 Gb/s (bare 23.1)", 9.24 / 23.1,
         _WANG, 2026, "documented test"),
    _one(_VIRTIO, "virtio NAT, tuned, 16 flows", "tcp", "13.4 Gb/s (bare 23.1)", 13.4 / 23.1,
         _WANG, 2026, "documented test"),
    _one((), "vhost-user, 25G", "tcp", "10.0 Gb/s (bare 23.5)", 10.0 / 23.5,
         _VIRTINK, None, "documented test"),
    _one((), "vhost-user, 25G", "latency", "15.4 µs (bare 13)", 15.4 / 13,
         _VIRTINK, None, "documented test"),
    _one((), "vhost-user, 25G", "packets", "232 kpps of 64 B UDP", None,
         _VIRTINK, None, "documented test"),
    _one(("passthrough",), "passthrough before posted interrupts", "load", "I/O-heavy load",
         (0.60, 0.77), _ELI, 2012, "paper, derived"),
    _one(("passthrough",), "10G passthrough, FreeBSD guest", "tcp", "4 Gb/s, 9.5 with 12 flows",
         None, _OPNSENSE, None, "informal"),
    _one(("sriov-vf",), "SR-IOV VF, 10GbE, up to 60 VMs", "tcp",
         "9.48 Gb/s; +1.76 % CPU a VM", 1.0, _DONG, 2010, "paper"),
    _one(("virtio-vhost-queues",), "32 queues, 8 flows, Linux guest, VM to VM", "tcp",
         "15.3 to 25.2 Gb/s", None, _NETKVM, None, "informal"),
    _one(("virtio-vhost-queues",), "16 queues, 8 flows, Windows guest, VM to VM", "tcp",
         "4.3 to 2.3 Gb/s", None, _NETKVM, None, "informal"),
)  # fmt: skip


@dataclass(frozen=True)
class PublishedTuning:
    """One published figure about a tuning, "viommu=strict", as its source has it.

    ``value`` says what was compared; machine, kernel and workload are the source's own.
    """

    tuning: str
    value: str
    source: str
    url: str
    year: int | None
    quality: Quality


_AMIT: Final = (
    "Amit et al., USENIX ATC",
    "https://research.ibm.com/publications/viommu-efficient-iommu-emulation",
)
_HALTPOLL: Final = (
    "Linux commit 2cffe9f6b96f",
    "https://git.zx2c4.com/linux-dev/commit/?id=2cffe9f6b96fece065ee8522673c90e92ef2085d",
)

#: Published figures about tunings; of the others none was found.
PUBLISHED_TUNINGS: Final[tuple[PublishedTuning, ...]] = (
    PublishedTuning("viommu=strict", "43 % of a 10 Gb/s line, an assigned NIC",
                    *_AMIT, 2011, "paper"),
    PublishedTuning("viommu=lazy", "91 % of a 10 Gb/s line, an assigned NIC",
                    *_AMIT, 2011, "paper"),
    PublishedTuning("swiotlb=force", "with the work on packets, over 50 % of a confidential "
                    "VM's CPU cycles", "Li et al., USENIX ATC",
                    "https://www.usenix.org/conference/atc23/presentation/lidingji", 2023, "paper"),
    PublishedTuning("guest-tso=off", "1 Gb/s to 365 Mb/s, VirtualBox",
                    "siag.nu, Interesting observation regarding virtio-net",
                    "http://morestuff.siag.nu/2015/04/20/interesting-observation-regarding-virtio-net/",
                    2015, "informal"),
    PublishedTuning("event-idx=off", "0.169 to 0.649 s, virtio_test without a VM",
                    "Linux commit a5c262c5fd83",
                    "https://gerrit-public.fairphone.software/plugins/gitiles/kernel/msm/+/a5c262c5fd83ece01bd649fb08416c501d4c59d7",
                    None, "documented test"),
    PublishedTuning("halt-poll-host=200000", "a message and its answer 33.40, without a VM 31.33 "
                    "(300 µs of polling)", *_HALTPOLL, 2019, "documented test"),
    PublishedTuning("halt-poll-guest=200000", "a message and its answer 32.73, without a VM 31.33 "
                    "(300 µs of polling)", *_HALTPOLL, 2019, "documented test"),
    PublishedTuning("tap-coalescing=32", "0.91 to 1.07 Mpps, pktgen in the guest",
                    "Linux commit 5503fcecd49f",
                    "https://isrc.iscas.ac.cn/gitlab/mirrors/git.yoctoproject.org/linux-yocto/-/commit/5503fcecd49f599e52d10f82057fe0c9d53c8f03",
                    None, "documented test"),
    PublishedTuning("mrg-rxbuf=off", "1 GB received in 10.85 to 24.75 s with buffers of 64 KiB, "
                    "lguest", "Linux commit fb6813f48080",
                    "https://git.lede-project.org./?a=commit&h=fb6813f480806d62361719e84777c8e00d3e86a8&p=openwrt%2Fstaging%2Fblogic.git",
                    None, "documented test"),
    PublishedTuning("zerocopy=on", "up to 15 % less CPU time of the host for large packets",
                    "Red Hat, Network Tuning Techniques",
                    "https://bookstack.swigg.net/books/linux/page/bridge-zero-copy-transmit",
                    None, "informal"),
    PublishedTuning("iptables-rules=100", "a packet of 64 bytes takes up to 75 % longer through "
                    "the stack, without rules 6 %", "Performance analysis of the Linux firewall "
                    "in a host", "https://blog.csdn.net/xdmstar/article/details/125805228",
                    None, "paper"),
    PublishedTuning("mitigations-guest=auto", "benchmarks slower by a little to 15 % and more",
                    "SUSE, Meltdown and Spectre Performance",
                    "https://www.suse.com/c/meltdown-spectre-performance/", None, "informal"),
)  # fmt: skip


def published_of(tuning: str) -> tuple[PublishedTuning, ...]:
    """Return the published figures about a tuning with its value."""
    return tuple(figure for figure in PUBLISHED_TUNINGS if figure.tuning == tuning)


#: Metrics of a result over which a published kind is laid.
METRICS: Final[dict[str, Kind]] = {
    "tcp_up_mbps": "tcp",
    "tcp_down_mbps": "tcp",
    "rtt_p50_us": "latency",
    "udp_received_pps": "packets",
}


def published(scheme: str, kind: Kind | None = None) -> tuple[Published, ...]:
    """Return the published figures of a scheme, of one kind or of all."""
    family = "virtio-vhost-queues" if scheme.startswith("virtio-vhost-q") else scheme
    # A ratio of load is one of throughput; it does not belong beside round trips.
    kinds = (kind,) if kind == "latency" else (kind, "load")
    return tuple(
        figure
        for figure in PUBLISHED
        if family in figure.schemes and (kind is None or figure.kind in kinds)
    )
