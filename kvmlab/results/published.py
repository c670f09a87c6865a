"""Figures that others published, as ratios to the same source's own bare metal.

Only what was verified stands here. No figure for e1000 on 10G, for macvtap, or for virtio and a VF
on one 10G host has been: those cells stay empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Quality = Literal["paper", "paper, derived", "documented test", "informal"]
Kind = Literal["tcp", "latency", "packets", "load"]


@dataclass(frozen=True)
class Published:
    """One published figure.

    ``schemes`` are the ids of the schemes that it is about, several where the source does not say
    which; empty for one that the lab does not have, which ``label`` then names. ``value`` is as
    the source has it; ``low`` … ``high`` is its ratio to the source's own bare metal, None where
    the source measured none.
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
        """The middle of the ratio; None where there is no bare metal to compare with."""
        if self.low is None or self.high is None:
            return None
        return (self.low + self.high) / 2

    @property
    def cited(self) -> str:
        """Source, year and quality in one line."""
        year = f", {self.year}" if self.year is not None else ""
        return f"{self.source}{year} ({self.quality})"


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

#: What of a result a published kind is laid over.
METRICS: Final[dict[str, Kind]] = {
    "tcp_up_mbps": "tcp",
    "tcp_down_mbps": "tcp",
    "rtt_p50_us": "latency",
    "udp_received_pps": "packets",
}


def published(scheme: str, kind: Kind | None = None) -> tuple[Published, ...]:
    """What was published about a scheme, of one kind or of all; empty where nothing was."""
    family = "virtio-vhost-queues" if scheme.startswith("virtio-vhost-q") else scheme
    # A ratio of load is one of throughput: it stands beside no round trip.
    kinds = (kind,) if kind == "latency" else (kind, "load")
    return tuple(
        one for one in PUBLISHED if family in one.schemes and (kind is None or one.kind in kinds)
    )
