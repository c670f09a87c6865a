"""Short looks at one interface: a packet's path, a single trial, who reaches whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmlab.errors import UsageError

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from kvmlab.changes import Nic
    from kvmlab.domain import TestVM
    from kvmlab.facts import HostFacts
    from kvmlab.hosts import Host
    from kvmlab.measure import OnProgress, Trials
    from kvmlab.results import Reach, Result
    from kvmlab.schemes import Scheme


def must_reach_the_peer(scheme: Scheme) -> None:
    """See that there will be packets to look at.

    Raises:
        UsageError: as it is, the VM does not reach the peer through that scheme.
    """
    if not scheme.must_answer:
        raise UsageError(
            f"{scheme.label}: like this the VM does not reach the peer; there is nothing to see.",
            todo="Choose a card whose packets arrive; notebook 04 shows the others with lab.reach.",
        )


def short_settings(seconds: int) -> Trials:
    """One trial of throughput and one of latency, without a path."""
    from kvmlab.measure import Trials

    return Trials(count=1, seconds=seconds, workloads=("tcp_up", "latency"), trace_path=False)


def traced(host: Host, vm: TestVM, nic: Nic) -> Result:
    """The path of one ping, as a result without trials.

    Raises:
        MeasureError: the path cannot be traced.
    """
    from kvmlab.measure import trace_path
    from kvmlab.results import Result

    path, raw = trace_path(host, vm, nic, vm.threads())
    return Result(
        scheme=nic.scheme,
        label=nic.label,
        host=host.label,
        clock=host.clock,
        emulated=host.emulated,
        trials=(),
        path=path,
        meta={"nic": nic.to_dict()},
        raw=(raw,),
    )


def one_path(host: Host, vm: TestVM, nic: Nic, progress: OnProgress | None) -> Result:
    """As `traced`, telling that it does.

    Raises:
        MeasureError: the path cannot be traced.
    """
    from kvmlab.measure import Progress

    if progress is not None:
        progress(Progress(1, 2, f"{nic.label}: following one packet"))
    return traced(host, vm, nic)


def short_trials(*results: Result) -> Figure:
    """What `short_settings` measure, of results that may hold more, side by side."""
    from kvmlab.report import figures

    costs = (("vm_exits_per_packet", "tcp_up"), ("cpu_us_per_packet", "tcp_up"))
    speeds = (("tcp_up_mbps", "tcp_up"), ("rtt_p50_us", None))
    return figures.overview(*results, metrics=(*speeds, *costs))


def path_of_last(*results: Result) -> Figure:
    """The way of the last result's packet."""
    from kvmlab.report import figures

    return figures.path(results[-1])


def reached(host: Host, vm: TestVM, nic: Nic, guest_mac: str, facts: HostFacts) -> Reach:
    """Ping between VM, peer and host, for which the host gets an address and loses it again.

    ``facts`` were read while ``nic`` was in place.

    Raises:
        Unavailable: no device of the host lies on the way of the VM's packets.
        ChangeError: the address could not be given, or not taken away.
    """
    from kvmlab.changes.meeting import meeting
    from kvmlab.measure import reach

    with meeting(facts, vm, nic, guest_mac=guest_mac) as end:
        return reach(host, vm, nic, host_end=end, vm_mac=guest_mac or nic.mac)
