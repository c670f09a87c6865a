"""The path of one packet: an echo of an unusual size, seen by the kernel's tracepoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmlab.clock import Clock
from kvmlab.errors import CommandFailed, MeasureError
from kvmlab.hosts import run_script
from kvmlab.measure.trace_events import ECHO_DATA_BYTES, Ends, build_path, parse_trace
from kvmlab.results import Path, Raw

if TYPE_CHECKING:
    from kvmlab.hosts import Host
    from kvmlab.measure.subject import Subject
    from kvmlab.process import Completed

# An IP packet with that echo, and the same with its Ethernet header and a VLAN tag.
_LEAST = ECHO_DATA_BYTES + 8 + 20
_MOST = _LEAST + 14 + 4
# The last one counts: those before it warm caches, and an emulator's translation of this code.
_ECHOES = "3"
# Each has come back before the next one leaves; under wall time an emulated host is slow.
_EVERY_SEC = {Clock.WALL: "0.2", Clock.VIRTUAL: "0.02"}


def trace_path(subject: Subject) -> tuple[Path, Raw]:
    """Send one echo from the VM to the peer; return the devices on its path, and the trace.

    The events are filtered by the echo's unusual size, in a tracefs instance of their own.

    Raises:
        MeasureError: tracing cannot be used, no answer came, or no trace of the echo was seen.
    """
    host, nic, cable = subject.host, subject.nic, subject.cable
    threads = subject.threads
    name = "kvmlab-path"  # one lab at a time works on a host
    ends = Ends(
        guest_interface=nic.guest_interface,
        port=cable.port,
        peer_port=cable.peer_port if cable.peer_netns else None,
        host_device=nic.host_device,
        pid=threads.pid,
        vcpus=frozenset(threads.vcpus),
        vhost=frozenset(threads.vhost),
    )
    try:
        _run(host, "start", name, str(_LEAST), str(_MOST))
        every = ("-i", _EVERY_SEC[host.clock])
        argv = ("ping", "-c", _ECHOES, *every, "-s", str(ECHO_DATA_BYTES), nic.peer_ip)
        echo = subject.vm.agent.run(argv, timeout_sec=host.clock.wall_timeout(15), check=False)
    except CommandFailed as error:
        raise MeasureError(
            f"The path of a packet cannot be traced on {host.label}.",
            todo="Needed: root, tracefs, and the events net_dev_start_xmit and netif_receive_skb.",
            evidence=(error.completed.stdout + error.completed.stderr)[-2000:],
        ) from error
    finally:
        trace = _run(host, "stop", name, check=False)
    if echo.returncode != 0 or trace.returncode != 0:
        raise MeasureError(
            f"The echo whose path was traced on {host.label} was not answered, or its trace was "
            "not read.",
            todo="Does the VM reach the peer through the interface under test?",
            evidence=(echo.stdout + trace.stderr + trace.stdout)[-2000:],
        )
    return build_path(parse_trace(trace.stdout), ends), Raw("path-trace.txt", trace.stdout)


def _run(host: Host, action: str, *args: str, check: bool = True) -> Completed:
    return run_script(
        host.runner,
        "kvmlab.measure",
        "path.sh",
        action,
        *args,
        timeout_sec=host.clock.wall_timeout(10),
        check=check,
        root=True,
    )
