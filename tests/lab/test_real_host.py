"""The embedded host as a real one: reached by a URI, its peer a machine of its own.

The peer's end of the cable has an sshd of its own, inside its network namespace: from here it is
another machine, behind a proxy command as it stands in many an ssh configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from kvmlab.changes import leftovers, locked
from kvmlab.changes.journal import ChangeJournal
from kvmlab.changes.persistent_definition import definition_of
from kvmlab.cli import answer
from kvmlab.clock import Clock
from kvmlab.domain import Domain, LabVm, TestVM
from kvmlab.domain.persistent_xml import defined_with
from kvmlab.errors import MeasureError
from kvmlab.lab import Lab, open_lab
from kvmlab.measure import Trials
from kvmlab.schemes import SriovVf, Virtio
from tests.faults.stranger import NAME, SPEC, stranger

pytestmark = [pytest.mark.host, pytest.mark.timeout(600)]

Out = pytest.CaptureFixture[str]
PEER = "strangers-peer"
CABLE = f"p2p1,192.0.2.10/24,192.0.2.1/24,ssh://{PEER}"
WITH_SERVER = ("tcp_up", "tcp_down", "pps", "request_response")


@dataclass(frozen=True)
class StrangersHost:
    """A stranger's host, and where a test may write."""

    folder: Path

    def open(self, cable: str = CABLE) -> Lab:
        lab = open_lab(SPEC, cable=cable, out=self.folder / "results", allow_changes=True)
        # A URI does not say that the host's clock counts instructions, which timeouts depend on.
        lab.host.clock = Clock.VIRTUAL
        return lab


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StrangersHost]:
    folder = tmp_path_factory.mktemp("real")
    with stranger(folder):
        config = folder / "config"
        jump = f"{folder}/tools/ssh {NAME} ip netns exec peer /usr/sbin/sshd -i"
        known = f"Host {NAME} 127.0.0.1 {PEER}\n"
        text = config.read_text().replace(config.read_text().splitlines(True)[0], known)
        config.write_text(f"Host {PEER}\n    HostName {PEER}\n    ProxyCommand {jump}\n{text}")
        yield StrangersHost(folder)


def test_a_peer_that_is_another_machine(place: StrangersHost) -> None:
    def servers() -> str:
        words = ("pgrep", "-l", "-x", "iperf3|sockperf")
        return lab.host.run(words, timeout_sec=60, check=False).stdout

    trials = Trials(count=1, seconds=1, trace_path=False, workloads=(*WITH_SERVER, "latency"))
    with place.open() as lab:
        with lab.plan(Virtio(backend="vhost")).applied(lab.vm) as nic:
            result = lab.measure(nic, trials)
            by_workload = {trial.workload: trial for trial in result.trials}
            assert set(by_workload) == {*WITH_SERVER, "latency"}
            for name, trial in by_workload.items():
                assert trial.metrics[0].value > 0, name
                assert trial.window is not None
                assert trial.window.counted_at == "p2p1", "our own end of the cable"
                assert trial.window.packets > 50, name
            assert any("server" in raw.name and "Accepted" in raw.text for raw in result.raw)
            assert servers() == ""
            peer = lab.host.peer(lab.cable)
            assert peer is not None
            held = peer.spawn(("iperf3", "-s", "-B", "192.0.2.1", "-p", "5201"))
            try:
                with pytest.raises(MeasureError, match=r"port 5201/tcp of the peer .* already"):
                    lab.measure(nic, Trials(count=1, seconds=1, workloads=("tcp_up",)))
            finally:
                peer.run(("pkill", "-x", "iperf3"), timeout_sec=60)
                held.finish(timeout_sec=30, check=False)
        assert servers() == ""
        # A VF's packets pass the host by: nobody there counts them, and they are measured.
        some = replace(trials, workloads=("tcp_up",))
        with lab.plan(SriovVf()).applied(lab.vm) as nic:
            result = lab.measure(nic, some)
            for trial in result.trials:
                assert trial.metrics[0].value > 0
                assert trial.costs == ()
                assert trial.window is not None
                assert trial.window.counted_at == f"{nic.guest_interface} in the VM"
                assert trial.window.packets > 50
        bare = lab.baseline(some)
        assert {trial.workload for trial in bare.trials} == set(some.workloads)


def test_a_definition_is_changed_only_when_asked(place: StrangersHost, capsys: Out) -> None:
    definition = LabVm(name="web-test", vcpus=1, memory_mib=64, root_ports=2)
    words = ("define", "virtio-vhost", "--host", SPEC, "--cable", CABLE, "--domain", "web-test")
    with place.open() as lab:
        lab.host.libvirt.defineXML(definition.domain().xml())
        vm = TestVM.find(lab.host, "web-test")
        before = vm.xml(inactive=True)
        assert answer([*words, "--dry-run"]) == 0
        assert answer(words) == 1
        output = capsys.readouterr()
        assert "+    <interface type='bridge'>" in output.out.replace('"', "'")
        assert "Put the port p2p1 into the bridge." in output.out
        assert "kvmlab.install" in output.out
        assert "--yes" in output.err
        assert vm.xml(inactive=True) == before
        assert answer([*words, "--yes"]) == 0
        after = Domain.parse(vm.xml(inactive=True))
        assert [interface.source_bridge for interface in after.interfaces] == ["kvmlab0"]
        assert leftovers(lab.host) == ()
        assert answer([*words, "--yes"]) == 1
        undo = ("define", "--undo", "--host", SPEC, "--domain", "web-test", "--yes")
        assert answer(undo) == 0
        assert vm.xml(inactive=True) == before
        assert answer(undo) == 0
        assert "Nothing of kvmlab's" in capsys.readouterr().out
        # A lab that died between its journal and its end, seen from another machine.
        step = definition_of(Virtio().plan(lab.facts, vm=vm), vm).step
        with locked(lab.host, purpose="dying"):
            journal = ChangeJournal.begin(lab.host, scheme="virtio-qemu", domain="web-test")
            journal.begin_steps([step], [0])
            vm.redefine(defined_with(vm.xml(inactive=True), step.interface_xml, step.mac))
            journal.abandon()
        assert answer(["restore", "--host", SPEC]) == 0
        assert "Undone (virtio-qemu): Write the interface" in capsys.readouterr().out
        assert vm.xml(inactive=True) == before
        vm.handle.undefine()
