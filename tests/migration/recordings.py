"""Outputs of ``migration_probe.sh``, as its tools print them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from kvmlab.results.migration import Traffic

BEGIN: Final = 1795898700
_MAC: Final = "52:54:00:30:a7:b7"


def recording(traffic: Traffic) -> str:
    """Return the whole output for one kind of traffic."""
    sections = {
        "started": f"{BEGIN}.000000000\n",
        "stopped": f"{BEGIN + 4}.000000000\n",
        "cpu": (
            "1 50000000 systemd/systemd\n50 500000000 qemu-system-x86/qemu-system-x86\n"
            "51 200000000 qemu-system-x86/CPU 0/KVM\n60 300000000 libvirtd/rpc-libvirtd\n"
            "70 900000000 qemu-system-x86/mig/src/main\n71 100000000 qemu-system-x86/vhost-50\n"
            "80 200000000 tcpdump/tcpdump\n"
        ),
        "announcements": "".join(
            (
                _frame(2.45, "Reverse ARP (0x8035), length 60: Reverse Request who-is " + _MAC),
                _frame(2.6, "ARP (0x0806), length 60: Request who-has 198.51.100.10"),
                _frame(2.7, "ARP (0x0806), length 42: Reply 198.51.100.10", to="00:1b:21:88:69:e0"),
            )
        ),
        "by_bridge_a": _echo(1.0, "request", 6)
        if traffic == "sends"
        else _echo(1.6, "reply", 2) + _echo(2.0, "reply", 3),
        "by_bridge_b": _echo(2.5, "request", 9)
        if traffic == "sends"
        else "".join(_echo(2.5, "reply", number) for number in (7, 6, 8)),
        "events_a": "".join(
            (
                _event(0.1, "MIGRATION", '{"status":"setup"}'),
                _event(0.2, "MIGRATION", '{"status":"wait-unplug"}'),
                _event(0.7, "MIGRATION", '{"status":"active"}'),
                _event(0.7, "MIGRATION_PASS", '{"pass":1}'),
                _event(1.5, "MIGRATION_PASS", '{"pass":2}'),
                _event(2.05, "STOP", "<null>"),
                _event(2.1, "MIGRATION_PASS", '{"pass":3}'),
                _event(2.3, "MIGRATION", '{"status":"completed"}'),
            )
        ),
        "events_b": _event(0.15, "MIGRATION", '{"status":"active"}')
        + _event(2.4, "RESUME", "<null>"),
        "traffic": _TRAFFIC[traffic],
    }
    parts = [f"=== {name}\n{body}\n=== exit 0\n" for name, body in sections.items()]
    return "=== ready\n" + "".join(parts) + "=== end\n"


def _frame(at: float, rest: str, *, to: str = "ff:ff:ff:ff:ff:ff") -> str:
    return f"{BEGIN + at:.6f} {_MAC} > {to}, ethertype {rest}\n"


def _echo(at: float, kind: str, number: int) -> str:
    return (
        f"{BEGIN + at:.6f} {_MAC} > 00:1b:21:88:69:e0, ethertype IPv4 (0x0800), length 98: "
        f"198.51.100.10 > 198.51.100.1: ICMP echo {kind}, id 7, seq {number}, length 64\n"
    )


def _event(at: float, name: str, data: str) -> str:
    when = datetime.fromtimestamp(BEGIN + at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    return f"{when}+0000: event {name} for domain 'kvmlab-vm': {data}\n"


def _reply(at: float, number: int, more: str = "") -> str:
    return (
        f"[{BEGIN + at:.6f}] 64 bytes from 198.51.100.10: icmp_seq={number} ttl=64 "
        f"time=0.345 ms{more}\n"
    )


_TRAFFIC: Final[dict[Traffic, str]] = {
    "answers": "PING 198.51.100.10 (198.51.100.10) 56(84) bytes of data.\n"
    + _reply(1.55, 1)
    + _reply(1.6, 2)
    + _reply(1.6, 2, " (DUP!)")
    + _reply(2.0, 3)
    + _reply(2.5, 7)
    + _reply(2.52, 6)
    + _reply(2.54, 8)
    + _reply(2.99, 10)
    + "\n--- 198.51.100.10 ping statistics ---\n"
    "10 packets transmitted, 7 received, +1 duplicates, 30% packet loss, time 190ms\n",
    "sends": _echo(0.5, "request", 5)
    + _echo(1.0, "request", 6)
    + _echo(1.0, "request", 6)
    + _echo(2.5, "request", 9),
    "receives": f"{BEGIN:.6f} IP 198.51.100.1.57551 > 198.51.100.10.5201: UDP, length 4\n"
    + "".join(
        f"{BEGIN + n * 0.02:.6f} IP 198.51.100.1.57551 > 198.51.100.10.5201: UDP, length 100\n"
        for n in range(1, 9)
    ),
    "tcp": "".join(
        f"{BEGIN + at:.6f} {size}\n"
        for at, size in ((0.1, 0), (0.2, 1_000_000), (0.3, 1_000_000), (0.5, 3_000_000))
    ),
}
