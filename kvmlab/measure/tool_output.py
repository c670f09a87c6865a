"""Parsers of the output of iperf3, sockperf and ping: pure, text in, metrics out."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from kvmlab.errors import MeasureError, OutputError
from kvmlab.results import Metric
from kvmlab.stored_files import parse_json

DATAGRAM_BYTES = 64
_PERCENTILES = {"50": "p50_us", "90": "p90_us", "99": "p99_us", "99.9": "p999_us"}


def iperf3_document(text: str) -> dict[str, Any]:
    """Parse the JSON that ``iperf3 --json`` printed.

    Raises:
        OutputError: it is no JSON object of iperf3.
        MeasureError: iperf3 says that the test failed.
    """
    try:
        # Some versions print a warning before the JSON.
        document = parse_json(text[text.index("{") :])
        if "error" in document:
            raise MeasureError(f"iperf3 failed: {document['error']}.", evidence=text[:2000])
        return dict(document) if document["end"] else {}
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError("iperf3 printed no complete JSON.", evidence=text[-400:]) from error


def iperf3_tcp(text: str, direction: str) -> tuple[Metric, ...]:
    """Return throughput as the receiver saw it, and the segments that were sent again.

    ``direction`` is "up" (VM to peer) or "down". From the JSON's end::

        "sum_sent": {"seconds": 1.000708, "bytes": 2212495360, "retransmits": 5850, ...},
        "sum_received": {"seconds": 1.000708, "bytes": 2212889328, ...}

    Raises:
        OutputError: it is not that.
        MeasureError: iperf3 failed, or nothing arrived.
    """
    end = iperf3_document(text).get("end", {})
    try:
        received = end["sum_received"]
        mbps = received["bytes"] * 8 / 1e6 / received["seconds"]
        # A sender that is no Linux does not report what it sent again.
        resent = end.get("sum_sent", {}).get("retransmits")
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise OutputError("iperf3's JSON lacks its sums.", evidence=text[-400:]) from error
    if mbps <= 0:
        raise MeasureError("iperf3 moved nothing over TCP.", evidence=text[-2000:])
    speed = Metric(f"tcp_{direction}_mbps", mbps, "Mbit/s", "higher")
    if not isinstance(resent, int | float):
        return (speed,)
    return speed, Metric(f"tcp_{direction}_retransmits_count", float(resent), "", "lower")


def _with_both_sums(end: Any) -> Any:
    """Return the end of a UDP test with both sums, which iperf3 before 3.10 has in one.

    ::

        "sum": {"seconds": 1.0, "bytes": 6400000, "lost_packets": 0, "packets": 100000, ...}
    """
    total = end.get("sum") if isinstance(end, dict) else None
    if not isinstance(total, dict) or "sum_sent" in end or not total.get("packets"):
        return end
    arrived = 1 - total.get("lost_packets", 0) / total["packets"]
    return {**end, "sum_sent": total, "sum_received": {**total, "bytes": total["bytes"] * arrived}}


def iperf3_udp(
    text: str, *, datagram_bytes: int = DATAGRAM_BYTES, down: bool = False
) -> tuple[Metric, ...]:
    """Return datagrams a second as sent and as delivered to the program, and the loss between.

    Arrivals at the peer's port are counted there, by the meters; a program that shares a CPU with
    everything else gets fewer. With ``down`` the VM received them.

    Computed from bytes: with a warm-up left out, iperf3's own count of lost packets still includes
    the warm-up's (41,815 "lost" of 656,780, of which 641,650 arrived)::

        "sum_sent": {"seconds": 0.999993, "bytes": 42033920, ...},
        "sum_received": {"seconds": 1.000064, "bytes": 41065600, ...}

    Raises:
        OutputError: it is not that.
        MeasureError: iperf3 failed, or nothing was sent.
    """
    end = _with_both_sums(iperf3_document(text).get("end", {}))
    try:
        rates = [
            end[key]["bytes"] / datagram_bytes / end[key]["seconds"]
            for key in ("sum_sent", "sum_received")
        ]
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise OutputError("iperf3's JSON lacks its sums.", evidence=text[-400:]) from error
    sent, received = rates
    if sent <= 0:
        raise MeasureError("iperf3 sent no datagram.", evidence=text[-2000:])
    loss = max(0.0, 1 - received / sent) * 100
    metrics = (
        Metric("udp_sent_pps", sent, "packets/s", "higher"),
        Metric("udp_delivered_pps", received, "packets/s", "higher"),
        Metric("udp_loss_percent", loss, "%", "lower"),
    )
    if not down:
        return metrics
    # Deliveries come first: how fast the peer can send is no figure of the VM.
    sent_down, delivered, lost = (
        replace(metric, name=metric.name.replace("udp_", "udp_down_")) for metric in metrics
    )
    return delivered, sent_down, lost


def sockperf_ping_pong(text: str) -> tuple[Metric, ...]:
    """Return round-trip times from ``sockperf ping-pong --full-rtt``.

    ::

        sockperf: ====> avg-rtt=9.199 (std-dev=16.577)
        sockperf: # dropped messages = 0; # duplicated messages = 0; # out-of-order messages = 0
        sockperf: Total 59506 observations; each percentile contains 595.06 observations
        sockperf: ---> <MAX> observation = 1197.737
        sockperf: ---> percentile 99.900 =  101.255
        sockperf: ---> percentile 99.000 =   69.351
        sockperf: ---> percentile 50.000 =    4.654

    A percentile that fewer than ten observations lie beyond is left out.

    Raises:
        OutputError: it is not that.
        MeasureError: no message came back.
    """
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    if "No messages were received" in plain:
        raise MeasureError("No message of sockperf came back.", evidence=plain[-2000:])
    mean = re.search(r"avg-rtt=([\d.]+)", plain)
    total = re.search(r"Total (\d+) observations", plain)
    values = {
        f"{float(at):g}": float(us)
        for at, us in re.findall(r"percentile ([\d.]+) =\s*([\d.]+)$", plain, re.MULTILINE)
    }
    if mean is None or total is None or "50" not in values or "<MIN> observation" not in plain:
        raise OutputError("sockperf's output is incomplete.", evidence=plain[-400:])
    count = int(total[1])
    shown = [
        Metric(f"response_{name}", values[at], "µs", "lower")
        for at, name in _PERCENTILES.items()
        if at in values and (at == "50" or count * (1 - float(at) / 100) >= 10)
    ]
    return (*shown, *_mean_and_count("response", float(mean[1]), count))


def echoes_under_load(text: str, direction: str) -> tuple[Metric, ...]:
    """Return round-trip times of echoes, and the throughput of the streams beside them.

    ``direction`` is that of the streams: "up", "down" or "both". The output of ``under_load.sh``::

        64 bytes from 192.0.2.1: icmp_seq=2 ttl=64 time=0.541 ms
        --- 192.0.2.1 ping statistics ---
        8 packets transmitted, 8 packets received, 0% packet loss
        === streams
        {"start": ...}

    Raises:
        OutputError: it is not that.
        MeasureError: nothing came back, or iperf3 failed.
    """
    echoes, _, streams = text.partition("=== streams\n")
    end = iperf3_document(streams).get("end", {})
    sums = {
        "up": {"up": "sum_received"},
        "down": {"down": "sum_received"},
        "both": {"up": "sum_received", "down": "sum_received_bidir_reverse"},
    }[direction]
    try:
        moved = [
            (way, end[key]["bytes"] * 8 / 1e6 / end[key]["seconds"]) for way, key in sums.items()
        ]
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise OutputError("iperf3's JSON lacks its sums.", evidence=text[-400:]) from error
    return (
        *(replace(metric, name=f"loaded_{metric.name}") for metric in ping_times(echoes)),
        *(Metric(f"load_{way}_mbps", mbps, "Mbit/s", "higher") for way, mbps in moved),
    )


def ping_times(text: str) -> tuple[Metric, ...]:
    """Return round-trip times from ``ping``, iputils' or busybox's.

    ::

        64 bytes from 192.0.2.1: icmp_seq=2 ttl=64 time=0.541 ms
        64 bytes from 192.0.2.1: seq=2 ttl=64 time=0.541 ms

    Raises:
        OutputError: the closing statistics are missing.
        MeasureError: nothing came back.
    """
    if "packets transmitted" not in text:
        raise OutputError("ping's output is incomplete.", evidence=text[-400:])
    times = sorted(float(ms) * 1000 for ms in re.findall(r"time=([\d.]+) ms", text))
    if not times:
        raise MeasureError("No echo came back.", evidence=text[-2000:])
    shown = [
        Metric(f"rtt_{name}", times[int(len(times) * float(at) / 100)], "µs", "lower")
        for at, name in _PERCENTILES.items()
        if at == "50" or len(times) * (1 - float(at) / 100) >= 10
    ]
    return (*shown, *_mean_and_count("rtt", sum(times) / len(times), len(times)))


def _mean_and_count(what: str, mean_us: float, count: int) -> tuple[Metric, ...]:
    return (
        Metric(f"{what}_mean_us", mean_us, "µs", "lower"),
        Metric(f"{what}_observations_count", float(count), "", "higher"),
    )
