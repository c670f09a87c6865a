"""The test VM on the embedded host: agent, threads, hot-plug, suspend and resume."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from kvmlab.domain import Domain, Interface, TestVM
from kvmlab.errors import AgentTimeout, GuestCommandFailed, HotplugFailed

if TYPE_CHECKING:
    from kvmlab.hosts import Host

pytestmark = pytest.mark.host

MAC = "52:54:00:00:00:77"
# A release before 6.4, and a process that is called as a vhost worker.
OLDER_KERNEL = """
echo 6.1.0 > /run/osrelease
mount --bind /run/osrelease /proc/sys/kernel/osrelease
mkfifo /run/never
sh -c 'echo vhost-$0 > /proc/self/comm; echo $$ > /run/worker; read -r _ < /run/never' $1 \\
    > /dev/null 2>&1 &
"""


@pytest.fixture
def bridge(host: Host) -> Iterator[str]:
    """Make a bridge without ports."""
    host.run(("ip", "link", "add", "name", "kvmlab-t0", "type", "bridge"), timeout_sec=60)
    yield "kvmlab-t0"
    host.run(("ip", "link", "delete", "dev", "kvmlab-t0"), timeout_sec=60)


def test_the_labs_vm_is_there_and_its_own(vm: TestVM, host: Host) -> None:
    assert vm.is_lab
    assert vm.state == "running"
    again = TestVM.ensure(host, vm.name)
    assert again.pid() == vm.pid(), "ensure made a new VM where one was running"


def test_commands_inside(vm: TestVM) -> None:
    done = vm.agent.run(
        ("sh", "-c", 'cat; echo "$1" >&2', "-", "two words; $(x)"),
        input_text="in\n",
        timeout_sec=60,
    )
    assert (done.stdout, done.stderr) == ("in\n", "two words; $(x)\n")
    assert done.host == f"test VM {vm.name}"


def test_commands_that_fail(vm: TestVM) -> None:
    with pytest.raises(GuestCommandFailed) as caught:
        vm.agent.run(("sh", "-c", "echo why >&2; exit 5"), timeout_sec=60)
    assert caught.value.completed.returncode == 5
    assert "why" in caught.value.evidence
    assert vm.agent.run(("false",), timeout_sec=60, check=False).returncode == 1
    with pytest.raises(GuestCommandFailed, match="no-such-tool"):
        vm.agent.run(("no-such-tool",), timeout_sec=60)
    with pytest.raises(AgentTimeout, match="did not happen within 1 s"):
        vm.agent.run(("sleep", "100000"), timeout_sec=1)


def test_threads(vm: TestVM) -> None:
    threads = vm.threads()
    assert len(threads.vcpus) == Domain.parse(vm.xml()).vcpus
    assert threads.vhost == ()
    assert threads.pid == vm.pid()


def test_vhost_workers_are_threads_of_qemu_or_of_the_kernel(
    vm: TestVM, bridge: str, host: Host
) -> None:
    """This kernel has threads of QEMU; a process with the name stands for an older one's."""
    interface = Interface.on_bridge(bridge, mac=MAC, model="virtio", driver="vhost")
    vm.attach(interface.xml())
    try:
        threads = vm.threads()
        assert len(threads.vhost) == 1
        assert threads.vhost_kernel == ()
        listed = host.run(("ps", "-T", "-p", str(threads.pid), "-o", "comm="), timeout_sec=60)
        assert f"vhost-{threads.pid}" in listed.stdout.split()
    finally:
        vm.detach(MAC)
    older = ("sh", "-c", OLDER_KERNEL, "sh", str(threads.pid))
    host.run(older, timeout_sec=60, root=True)
    try:
        threads = vm.threads()
        assert len(threads.vhost) == 1
        assert threads.vhost_kernel == threads.vhost
    finally:
        undo = "umount /proc/sys/kernel/osrelease; kill $(cat /run/worker)"
        host.run(("sh", "-c", undo), timeout_sec=60, root=True)
        host.run(("rm", "/run/osrelease", "/run/never", "/run/worker"), timeout_sec=60, root=True)


@pytest.mark.parametrize("model", ["virtio", "e1000e", "e1000"])
def test_plugged_and_unplugged(model: str, vm: TestVM, bridge: str, host: Host) -> None:
    driver = "vhost" if model == "virtio" else None
    nic = Interface.on_bridge(bridge, mac=MAC, model=model, driver=driver)
    alias = vm.attach(nic.xml())
    assert alias == "ua-kvmlab-525400000077"
    tap = vm.host_device(MAC)
    assert tap is not None
    members = host.run(("ls", f"/sys/class/net/{bridge}/brif"), timeout_sec=60).stdout.split()
    assert members == [tap]
    assert len(vm.threads().vhost) == (1 if driver else 0)
    assert vm.detach(MAC) is True
    assert vm.detach(MAC) is False
    assert vm.detach(alias) is False
    assert vm.host_device(MAC) is None
    assert not host.run(("ls", f"/sys/class/net/{bridge}/brif"), timeout_sec=60).stdout


def test_refusal_of_libvirt(vm: TestVM) -> None:
    nic = Interface.on_bridge("no-such-bridge", mac=MAC, model="virtio")
    with pytest.raises(HotplugFailed, match="no-such-bridge") as caught:
        vm.attach(nic.xml())
    assert MAC in caught.value.evidence
    assert vm.interface(MAC) is None


def test_suspended_and_resumed(vm: TestVM) -> None:
    vm.suspend()
    try:
        assert vm.state == "paused"
    finally:
        vm.resume()
    vm.agent.ping(timeout_sec=60)
