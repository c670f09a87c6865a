"""Inspecting recorded hosts, end to end."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kvmlab.errors import Unavailable
from kvmlab.facts import (
    HostFacts,
    KvmProof,
    LinkState,
    ModuleState,
    Rule,
    VfSettings,
    inspect,
)
from kvmlab.facts.display import Cell, Section, Sheet, as_html, as_text
from kvmlab.hosts import Cable, Host, HostKind, RecordedRunner, Reply
from kvmlab.schemes.feasibility import attempt
from kvmlab.schemes.registry import CATALOGUE
from tests.facts.recorded_host import load, recorded_host


@pytest.fixture(scope="module")
def calm(data: Path) -> HostFacts:
    return _facts(data, "embedded")


@pytest.fixture(scope="module")
def busy(data: Path) -> HostFacts:
    return _facts(data, "embedded_busy")


@pytest.fixture(scope="module")
def paravirtual(data: Path) -> HostFacts:
    return _facts(data, "paravirtual")


def _facts(data: Path, name: str) -> HostFacts:
    with load(data / "facts" / f"{name}.json") as host:
        return inspect(host)


def test_machine(calm: HostFacts) -> None:
    assert calm.host_name == "kvmlab"
    assert calm.cpu.model == "AMD EPYC Processor"
    assert (calm.cpu.vendor, calm.cpu.architecture) == ("AMD", "x86_64")
    assert (calm.cpu.logical_cpus, calm.cpu.numa_nodes, calm.cpu.memory_mib) == (2, 1, 2913)
    assert (calm.cpu.virtualisation, calm.cpu.is_guest) == ("svm", True)
    assert calm.kernel.release == "6.12.117+deb13-amd64"
    assert calm.kernel.distribution == "Debian GNU/Linux 13 (trixie)"
    assert "intel_iommu=on" in calm.kernel.command_line.split()


def test_kvm_is_proven_by_a_kernel_that_boots(calm: HostFacts) -> None:
    assert calm.kvm.usable
    assert calm.kvm.proof is KvmProof.KERNEL
    assert calm.kvm.module == "kvm_amd"
    assert calm.kvm.nested is True
    assert calm.kvm.parameters["kvm_amd.npt"] == "Y"
    assert calm.kvm.rule is None


def test_a_paravirtual_kvm_is_no_kvm(paravirtual: HostFacts) -> None:
    kvm = paravirtual.kvm
    assert kvm.node
    assert kvm.accessible
    assert not kvm.usable
    assert kvm.rule is Rule.KVM_NOT_USABLE
    assert "neither vmx nor svm" in kvm.reason
    assert (kvm.module, kvm.nested) == (None, None)


def test_modules(calm: HostFacts, busy: HostFacts, paravirtual: HostFacts) -> None:
    assert calm.modules["vhost_net"] == "loaded"
    assert calm.modules["8021q"] is ModuleState.AVAILABLE
    assert busy.modules["8021q"] is ModuleState.LOADED
    assert paravirtual.modules["tun"] is ModuleState.BUILTIN
    assert paravirtual.modules["vhost_net"] is ModuleState.MISSING


def test_ports_at_the_articles_addresses(calm: HostFacts) -> None:
    assert [port.address for port in calm.ports] == [
        "0000:00:02.0",
        "0000:04:00.0",
        "0000:04:00.1",
        "0000:05:00.0",
        "0000:0b:00.0",
        "0000:0b:00.1",
    ]


def test_a_port(calm: HostFacts) -> None:
    port = calm.port("p2p1")
    assert port is calm.port("0b:00.0")
    assert port is calm.port("0000:0b:00.0")
    assert port.description == "Intel Corporation 82576 Gigabit Network Connection"
    assert port.model == "Intel 82576"
    assert (port.vendor_id, port.device_id) == ("0x8086", "0x10c9")
    assert (port.driver, port.name, port.netns) == ("igb", "p2p1", None)
    assert (port.mac, port.link, port.speed_mbps) == ("00:1b:21:76:00:10", LinkState.UP, 1000)
    assert (port.sriov_numvfs, port.sriov_totalvfs, port.vfs) == (0, 7, ())
    assert (port.numa_node, port.iommu_group) == (None, 18)
    assert port.reset_methods == ("flr", "pm", "bus")
    assert port.handover.possible


def test_a_port_in_a_namespace(calm: HostFacts) -> None:
    port = calm.port("p2p2")
    assert (port.address, port.netns, port.link) == ("0000:0b:00.1", "peer", LinkState.UP)
    assert port.speed_mbps == 1000
    link = calm.link("p2p2", netns="peer")
    assert link is not None
    assert link.addresses == ("192.0.2.1/24",)
    assert calm.link("p2p2") is None


def test_a_device_behind_virtio_is_named_by_its_address(calm: HostFacts) -> None:
    link = calm.link("mgmt0")
    assert link is not None
    assert link.device == calm.port("mgmt0").address == "0000:00:02.0"


def test_a_shared_group_names_who_is_in_the_way(calm: HostFacts) -> None:
    handover = calm.port("04:00.0").handover
    assert not handover.possible
    assert handover.rule is Rule.GROUP_NOT_VIABLE
    assert handover.in_the_way == ("0000:04:00.1",)
    assert "0000:04:00.1 (e1000e)" in handover.reason


def test_a_group_is_viable_once_the_others_are_with_vfio(busy: HostFacts) -> None:
    assert busy.port("04:00.1").driver == "vfio-pci"
    assert busy.port("04:00.0").handover.possible
    assert busy.port("04:00.1").handover.in_the_way == ("0000:04:00.0",)


def test_virtual_functions(busy: HostFacts) -> None:
    physical = busy.port("0b:00.1")
    assert (physical.sriov_numvfs, physical.vfs) == (2, ("0000:0b:10.1", "0000:0b:10.3"))
    assert physical.vf_settings[0] == VfSettings(
        index=0, mac="02:00:00:00:00:01", spoof_check=True, trusted=False, link="auto"
    )
    virtual = busy.port("0b:10.1")
    assert virtual.vf_of == physical.address
    assert (virtual.driver, virtual.names, virtual.link) == (None, (), LinkState.UNKNOWN)
    assert virtual.sriov_totalvfs is None


def test_the_management_connection(calm: HostFacts) -> None:
    assert calm.management == "mgmt0"
    assert calm.carriers == calm.default_route_interfaces == ("mgmt0",)
    handover = calm.port("mgmt0").handover
    assert handover.rule is Rule.MANAGEMENT


def test_bridges_taps_and_macvtaps(busy: HostFacts) -> None:
    assert "rec-br" in {link.name for link in busy.bridges}
    assert {link.name for link in busy.members("rec-br")} == {"rec-tap", "rec-vlan"}
    bridge = busy.link("rec-br")
    assert bridge is not None
    assert (bridge.up, bridge.carrier) == (True, False)
    assert [link.name for link in busy.taps] == ["rec-tap"]
    (macvtap,) = busy.macvtaps
    assert (macvtap.name, macvtap.parent, macvtap.detail) == ("rec-mvt", "rec-bond", "bridge")
    vlan = busy.link("rec-vlan")
    assert vlan is not None
    assert (vlan.kind, vlan.detail, vlan.parent, vlan.master) == (
        "vlan",
        "42",
        "rec-bond",
        "rec-br",
    )


def test_huge_pages(calm: HostFacts, busy: HostFacts) -> None:
    assert {(p.size_kib, p.total) for p in calm.hugepages if p.numa_node is None} == {
        (2048, 0),
        (1048576, 0),
    }
    assert {(p.total, p.free) for p in busy.hugepages if p.size_kib == 2048} == {(16, 16)}
    assert 0 in {p.numa_node for p in busy.hugepages}


def test_no_iommu(paravirtual: HostFacts) -> None:
    assert not paravirtual.iommu.on
    assert paravirtual.port("eth0").handover.rule is Rule.IOMMU_OFF


def test_an_unknown_port_lists_those_there_are(calm: HostFacts) -> None:
    with pytest.raises(Unavailable, match='no network function "eth7"') as caught:
        calm.port("eth7")
    assert caught.value.rule == Rule.PORT_MISSING
    assert "p2p1 (0000:0b:00.0)" in caught.value.todo


def test_without_proof_kvm_counts_as_unusable(data: Path) -> None:
    with load(data / "facts" / "embedded.json") as host:
        facts = inspect(host, prove_kvm=False)
    assert not facts.kvm.usable
    assert "no guest was booted" in facts.kvm.reason


def test_an_older_host_is_read_as_a_newer_one(data: Path) -> None:
    """Debian 12: Linux 6.1, iproute2 6.1, util-linux 2.38."""
    facts = _facts(data, "debian12")
    assert facts.kernel.release.startswith("6.1.")
    assert facts.kernel.distribution == "Debian GNU/Linux 12 (bookworm)"
    assert facts.unread == ()
    assert facts.management == "mgmt0"
    assert {port.name for port in facts.ports} == {"mgmt0", "p1p1", "p1p2", "p2p1", "p2p2", "p3p1"}
    assert facts.port("p2p1").sriov_totalvfs == 7
    assert len(facts.iommu.groups) == 20
    cable = Cable("p2p1", "192.0.2.10/24", "192.0.2.1/24", "peer", "p2p2")
    assert [item.id for item in CATALOGUE if not attempt(item, facts, cable).possible] == []


def test_an_ordinary_user_is_told_what_was_not_read(data: Path) -> None:
    facts = _facts(data, "ordinary_user")
    (unread,) = facts.unread
    assert unread.startswith("Network namespaces (peer")
    assert "needs root" in unread
    assert {link.netns for link in facts.links} == {None}
    assert "Not read" in str(facts)


def test_a_host_without_ip(data: Path) -> None:
    recording = json.loads((data / "facts" / "paravirtual.json").read_text())
    (reply,) = recording["replies"]
    answer = re.sub(
        r"(=== addresses\n.*?\n=== exit )0", r"\g<1>127", "".join(reply["stdout"]), flags=re.S
    )
    replies = [Reply(tuple(reply["argv"]), stdout=answer, input_line=reply["input"])]
    with pytest.raises(Unavailable, match="no `ip` command") as caught:
        inspect(recorded_host(RecordedRunner(replies)))
    assert caught.value.rule == Rule.IPROUTE_MISSING


def test_a_host_without_libvirt(data: Path, tmp_path: Path) -> None:
    host = Host(
        spec="recorded",
        kind=HostKind.RECORDED,
        label="kvm1",
        runner=RecordedRunner.load(data / "facts" / "paravirtual.json"),
        libvirt_uri=f"qemu+unix:///system?socket={tmp_path}/none",
    )
    facts = inspect(host)
    assert facts.libvirt.version is None
    assert facts.libvirt.problem.startswith("No libvirt answers on kvm1. Install")
    assert facts.libvirt.uri == "qemu+unix:///system"


def test_json(busy: HostFacts) -> None:
    document = json.loads(json.dumps(busy.to_dict()))
    ports = {port["address"]: port for port in document["ports"]}
    assert ports["0000:0b:00.1"]["vf_settings"][0]["mac"] == "02:00:00:00:00:01"
    assert ports["0000:04:00.1"]["handover"]["rule"] == "group-not-viable"
    assert document["modules"]["tun"] == "loaded"
    assert document["kvm"]["usable"] is True
    assert document["clock"] == "wall"


@pytest.mark.parametrize("name", ["embedded", "embedded_busy", "paravirtual"])
def test_displays_hold_what_matters(data: Path, name: str) -> None:
    facts = _facts(data, name)
    words = [port.address.removeprefix("0000:") for port in facts.ports]
    words += [link.name for link in facts.links if not link.loopback]
    words += [facts.kernel.release, "libvirt", "Kernel modules"]
    text, html = str(facts), _Texts.of(facts._repr_html_())
    for word in words:
        assert word in text
        assert word in html
    assert max(map(len, text.splitlines())) <= 118


def test_what_every_device_is_called_is_left_out(calm: HostFacts) -> None:
    assert "Intel 82576" in _Texts.of(calm._repr_html_())
    assert "Corporation" not in str(calm)


def test_displays_take_texts_as_they_are() -> None:
    odd = "[red]<b>&amp;[/red]"
    shown = Sheet(odd, odd, (Section(odd, ((Cell(odd), Cell(odd)),), (odd, odd), odd),))
    assert as_text(shown).count(odd) == 8
    assert _Texts.of(as_html(shown)).count(odd) == 8


class _Texts(HTMLParser):
    """The texts of a document, and a check that every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.open: list[str] = []

    @classmethod
    def of(cls, html: str) -> str:
        parser = cls()
        parser.feed(html)
        parser.close()
        assert parser.open == []
        return "\n".join(parser.texts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
