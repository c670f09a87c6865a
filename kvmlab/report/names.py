"""What people read instead of the names in the data: metrics, workloads, costs, numbers."""

from __future__ import annotations

import math

from kvmlab.results import Variant

# The name in the data -> what a figure or a sentence calls it.
METRICS = {
    "tcp_up_mbps": "TCP from the VM",
    "tcp_down_mbps": "TCP to the VM",
    "rtt_p50_us": "Round trip, median",
    "rtt_p90_us": "Round trip, 90th percentile",
    "rtt_p99_us": "Round trip, 99th percentile",
    "udp_sent_pps": "UDP packets sent",
    "udp_received_pps": "UDP packets at the peer's port",
    "udp_delivered_pps": "UDP packets delivered",
    "udp_down_sent_pps": "UDP packets sent to the VM",
    "udp_down_delivered_pps": "UDP packets delivered in the VM",
    "udp_down_loss_percent": "UDP packets lost on the way to the VM",
    "rtt_mean_us": "Round trip, mean",
    "loaded_rtt_p50_us": "Round trip under load, median",
    "loaded_rtt_p90_us": "Round trip under load, 90th percentile",
    "loaded_rtt_p99_us": "Round trip under load, 99th percentile",
    "loaded_rtt_mean_us": "Round trip under load, mean",
    "loaded_rtt_observations_count": "Round trips under load",
    "load_up_mbps": "TCP from the VM, beside echoes",
    "load_down_mbps": "TCP to the VM, beside echoes",
    "rtt_observations_count": "Round trips",
    "response_p50_us": "Response of a program, median",
    "response_p90_us": "Response of a program, 90th percentile",
    "response_p99_us": "Response of a program, 99th percentile",
    "response_mean_us": "Response of a program, mean",
    "response_observations_count": "Responses of a program",
    "udp_loss_percent": "UDP packets lost",
    "tcp_up_retransmits_count": "TCP segments sent again",
    "tcp_down_retransmits_count": "TCP segments sent again",
    "busiest_queue_percent": "Packets sent by the busiest queue pair",
    "busiest_worker_percent": "CPU time of the busiest vhost worker",
    "busiest_vcpu_percent": "CPU time of the busiest vCPU",
}
WORKLOADS = {
    "tcp_up": "TCP from the VM",
    "tcp_up_flows": "many TCP flows",
    "tcp_down": "TCP to the VM",
    "latency": "round trips",
    "pps": "small UDP packets",
    "pps_down": "small UDP packets to the VM",
    "pps_flows": "many small UDP flows",
    "request_response": "requests to a program",
    "latency_under_up": "round trips while TCP runs from the VM",
    "latency_under_down": "round trips while TCP runs to the VM",
    "latency_under_both": "round trips while TCP runs both ways",
}
COSTS = {
    "vm_exits": "VM exits",
    "userspace_exits": "Exits to QEMU",
    "syscalls": "System calls of QEMU",
    "context_switches": "Context switches",
    "cpu_us": "CPU time",
    "cpu_wait_us": "Waiting for a CPU",
    "softirq_us": "CPU time in softirqs",
    "interrupts": "Interrupts",
    "guest_interrupts": "Interrupts put into the VM",
    "softirqs": "Softirqs",
    "instructions": "Instructions, by who ran them",
    "steal_us": "CPU time stolen",
    "machine_steal_us": "CPU time stolen from this machine",
}
# What of a trial's work is shared between queue pairs, vhost workers or vCPUs.
SHARES = {
    "sent_packets": "Packets sent",
    "queue_interrupts": "Interrupts in the VM",
    "worker_us": "CPU time in vhost",
    "vcpu_us": "CPU time of the VM",
}
ONE_OF = {
    "sent_packets": "queue pair",
    "queue_interrupts": "queue pair",
    "worker_us": "vhost worker",
    "vcpu_us": "vCPU",
}
UNIT_OF_SHARE = {
    "sent_packets": "packets",
    "queue_interrupts": "interrupts",
    "worker_us": "µs",
    "vcpu_us": "µs",
}
PER = {"packet": "a packet", "megabyte": "a megabyte", "second": "a second", "trial": "a trial"}


def metric(name: str, workload: str | None = None) -> str:
    """``vm_exits_per_packet`` in ``tcp_up`` -> "VM exits a packet, TCP from the VM"."""
    if name in METRICS:
        if workload is None:
            return METRICS[name]
        varied = Variant.parse(workload)
        load = varied.base.startswith("latency_under_")
        beside = WORKLOADS[varied.base].replace("round trips", ",") if load else ""
        return f"{METRICS[name]}{beside}{_varied(varied)}"
    for suffix, per in (("_per_packet", "a packet"), ("_per_mb", "a megabyte")):
        if name.endswith(suffix):
            stem = name.removesuffix(suffix)
            told = f"{cost(stem)} {per}"
            return f"{told}, {_workload(workload)}" if workload else told
    return name.replace("_", " ")


def workload(name: str) -> str:
    """``tcp_up@64x4`` -> "TCP from the VM, messages of 64 bytes, 4 flows"."""
    varied = Variant.parse(name)
    told = WORKLOADS.get(varied.base, varied.base)
    if varied.message_bytes is not None:
        told = told.replace("small ", "")
    return f"{told}{_varied(varied)}"


_workload = workload  # where an argument has its name


def _varied(one: Variant) -> str:
    told = "" if one.message_bytes is None else f", messages of {one.message_bytes:,} bytes"
    return told if one.flows is None else f"{told}, {flows(one.flows)}"


def flows(count: int) -> str:
    """``1`` -> "1 flow"."""
    return f"{count} flow{'s' if count != 1 else ''}"


def size(count: int) -> str:
    """Bytes in the unit that reads well: 64 -> "64", 4096 -> "4 Ki", 65507 -> "65,507"."""
    return f"{count // 1024} Ki" if count % 1024 == 0 else f"{count:,}"


def cost(name: str) -> str:
    """``vm_exits`` -> "VM exits"."""
    return COSTS.get(name, name.replace("_", " "))


def number(value: float) -> str:
    """Three significant digits, as a person writes them: 0.0123, 1.94, 25.1, 1,140."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    rounded = round(value, digits)
    if abs(value) >= 100:
        return f"{round(value, -max(0, math.floor(math.log10(abs(value))) - 2)):,.0f}"
    return f"{rounded:.{digits}f}".replace("-", "−")


def scaled(unit: str, largest: float) -> tuple[str, float]:
    """A unit in which ``largest`` reads well, and the divisor that leads to it."""
    if unit == "µs" and largest >= 1e6:
        return "s", 1e6
    if unit == "µs" and largest >= 1e3:
        return "ms", 1e3
    if unit == "packets/s" and largest >= 1e5:
        return "thousand packets/s", 1e3
    return unit, 1.0


def duration(us: float) -> str:
    """A time in µs with the unit that reads well: "84 µs", "1.94 ms".

    Below a millisecond without decimals: the kernel's trace counts whole microseconds.
    """
    if abs(us) < 1e3:
        return f"{us:.0f} µs"
    unit, divisor = scaled("µs", abs(us))
    return f"{number(us / divisor)} {unit}"
