"""Readings of a host and of its VM, to be compared before and after a migration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kvmlab import Lab
from kvmlab.domain import TestVM
from kvmlab.hosts import Host

_STATE = """
# A port that comes back has its link a moment later.
tries=0
until ip -n peer link show dev p2p2 | grep -q LOWER_UP && ip link show dev p2p1 | grep -q LOWER_UP
do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || break
    sleep 0.1
done
cat /etc/hosts
ip -br link | sort
ip netns list | sort
ip -n peer -br address | sort
virsh -c qemu:///system list --name
virsh -c qemu:///system net-list --name
virsh -c qemu:///system domiflist kvmlab-vm
cat /sys/bus/pci/devices/*/sriov_numvfs /sys/bus/pci/devices/*/sriov_drivers_autoprobe
ls -d /run/kvmlab* /sys/module/igbvf 2>/dev/null
pgrep -c libvirtd
"""


def state_of(host: Host) -> str:
    """Return interfaces of the host and of its namespaces, its domains, networks and VFs."""
    return host.run(("sh", "-c", _STATE), timeout_sec=60, check=False).stdout


#: The host promises 200 MiB more than it has promised already, and a QEMU wants 512.
_FULL = (
    "promised=$(sed -n 's/^Committed_AS: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo); "
    "echo $((promised + 204800)) >/proc/sys/vm/overcommit_kbytes; "
    "echo 2 >/proc/sys/vm/overcommit_memory"
)


@contextmanager
def memory_taken(host: Host) -> Iterator[None]:
    """Leave a host without memory for one more VM for the length of the block."""
    host.run(("sh", "-c", _FULL), timeout_sec=60)
    try:
        yield
    finally:
        host.run(("sh", "-c", "echo 0 >/proc/sys/vm/overcommit_memory"), timeout_sec=60)


def uptime_of_vm(vm: TestVM) -> float:
    """Return the seconds since the VM's kernel was started."""
    text = vm.agent.run(("cat", "/proc/uptime"), timeout_sec=120).stdout
    return float(text.split()[0])


def boot_of_vm(vm: TestVM) -> str:
    """Return the id of the boot of the VM's kernel."""
    path = "/proc/sys/kernel/random/boot_id"
    return vm.agent.run(("cat", path), timeout_sec=120).stdout.strip()


def assert_as_before(lab: Lab, uptime: float) -> None:
    """Assert that the VM runs at home, answers, and has not been started anew."""
    # A libvirtd that was started anew knows nothing of a handle of before.
    lab.vm.handle = TestVM.find(lab.host).handle
    assert lab.vm.state == "running"
    assert uptime_of_vm(lab.vm) > uptime
