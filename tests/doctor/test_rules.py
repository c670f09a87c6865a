"""Each rule on recorded hosts, with what cannot be provoked put in by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from kvmlab.doctor import Finding, Verdict, judge
from kvmlab.doctor.case import Case
from kvmlab.doctor.desk import Desk, read_desk
from kvmlab.doctor.domains import Card, RunningVm, parse_vm
from kvmlab.doctor.guest import Channels, Guest, GuestInterface, parse_guest
from kvmlab.doctor.symptoms import Daemon, Symptoms, parse_symptoms
from kvmlab.errors import OutputError, UsageError
from kvmlab.facts import HostFacts, LinkState, ModuleState, Rule, VfSettings
from kvmlab.facts.sections import parse_sections
from kvmlab.facts.sriov import error_name, explain_numvfs
from kvmlab.schemes.catalogue import CATALOGUE, attempt
from tests.advice.made import WIRE, embedded, in_bridge, recorded, with_vfs, without_iommu

DESK = Desk("/kernels/python3", "python", True, "/plotly.min.js", "8.1", "3.0", True)
ROOMY = Daemon("libvirtd", 8 << 20, may_raise=True)
CALM = Symptoms(daemon=ROOMY, bridge_netfilter=False)
CARD = Card("bridge", "52:54:00:00:00:01", "virtio", "vhost", 1, "br0", None, False, None)
VM = RunningVm("vm1", 2, 512, False, False, (CARD,), ())


def case(facts: HostFacts | None = None, **more: object) -> Case:
    """The embedded host at rest, but for what is given."""
    given: dict[str, object] = {"symptoms": CALM, "desk": DESK, **more}
    return Case(facts if facts is not None else embedded(), **given)  # type: ignore[arg-type]


def found(rule: Rule, one: Case) -> Finding:
    return judge(one).finding(rule)


def port(facts: HostFacts, which: str, /, **values: object) -> HostFacts:
    return replace(
        facts,
        ports=tuple(
            replace(one, **values) if which in one.names else one  # type: ignore[arg-type]
            for one in facts.ports
        ),
    )


def vm(**values: object) -> RunningVm:
    return replace(VM, **values)  # type: ignore[arg-type]


def log(line: str) -> Symptoms:
    return replace(CALM, kernel_log=(line,))


def vfs(*settings: VfSettings) -> HostFacts:
    return port(with_vfs(embedded(), "p2p1", len(settings) or 1), "p2p1", vf_settings=settings)


def module(name: str, state: ModuleState) -> HostFacts:
    facts = embedded()
    return replace(facts, modules=MappingProxyType({**facts.modules, name: state}))


SAFE = VfSettings(0, "02:00:00:00:00:01", True, False, "auto")
NVIDIA = "vfio: Cannot reset device 0000:04:00.0, no available reset mechanism, not doing bus reset"

Made = Callable[[], Case]
PROBLEM, WARNING, OK = Verdict.PROBLEM, Verdict.WARNING, Verdict.OK
NONE, UNKNOWN = Verdict.NOT_APPLICABLE, Verdict.UNKNOWN
TABLE: list[tuple[Rule, Verdict, Made]] = [
    (Rule.LIBVIRT_PYTHON_MISSING, OK, case),
    (Rule.LIBVIRT_PYTHON_MISSING, PROBLEM,
     lambda: case(desk=replace(DESK, libvirt_binding=False))),
    (Rule.LIBVIRT_MISSING, PROBLEM,
     lambda: case(replace(embedded(), libvirt=replace(embedded().libvirt, problem="No.")))),
    (Rule.KVM_NOT_USABLE, PROBLEM, lambda: case(recorded("paravirtual"))),
    (Rule.MODULE_MISSING, PROBLEM, lambda: case(module("macvtap", ModuleState.MISSING))),
    (Rule.MODULE_MISSING, OK, case),
    (Rule.MODULE_MISSING, PROBLEM, lambda: case(replace(embedded(), nodes={}))),
    (Rule.VHOST_NET_MISSING, PROBLEM, lambda: case(module("vhost_net", ModuleState.AVAILABLE))),
    (Rule.VHOST_NET_MISSING, PROBLEM, lambda: case(module("vhost_net", ModuleState.MISSING))),
    (Rule.VHOST_NET_MISSING, PROBLEM, lambda: case(replace(embedded(), nodes={}))),
    (Rule.VHOST_NET_DENIED, OK, case),
    (Rule.VHOST_NET_DENIED, NONE, lambda: case(replace(embedded(), nodes={}))),
    (Rule.VHOST_NET_DENIED, OK,
     lambda: case(replace(embedded(), nodes={"/dev/vhost-net": False}))),
    (Rule.VHOST_NET_DENIED, PROBLEM,
     lambda: case(replace(embedded(), nodes={"/dev/vhost-net": False}, libvirt=replace(
         embedded().libvirt, uri="qemu:///session")))),
    (Rule.IOMMU_OFF, PROBLEM, lambda: case(without_iommu(embedded()))),
    (Rule.IOMMU_OFF, PROBLEM, lambda: case(recorded("paravirtual"))),
    (Rule.IOMMU_OFF, WARNING,
     lambda: case(symptoms=log("vfio: No interrupt remapping support"))),
    (Rule.LOCKED_MEMORY, OK, case),
    (Rule.LOCKED_MEMORY, PROBLEM,
     lambda: case(symptoms=replace(CALM, daemon=Daemon("virtqemud", 64 << 10, False)))),
    (Rule.LOCKED_MEMORY, WARNING,
     lambda: case(symptoms=replace(CALM, daemon=Daemon("virtqemud", 64 << 30, False)))),
    (Rule.LOCKED_MEMORY, WARNING,
     lambda: case(symptoms=replace(
         CALM, qemu_log=("VFIO_MAP_DMA failed: Cannot allocate memory",)))),
    (Rule.LOCKED_MEMORY, UNKNOWN, lambda: case(symptoms=Symptoms(unread="sudo said no"))),
    (Rule.BRIDGE_NETFILTER, WARNING, lambda: case(symptoms=replace(CALM, bridge_netfilter=True))),
    (Rule.BRIDGE_NETFILTER, PROBLEM,
     lambda: case(symptoms=replace(CALM, bridge_netfilter=True, forward_policy="DROP"))),
    (Rule.BRIDGE_NETFILTER, UNKNOWN, lambda: case(symptoms=Symptoms(unread="no"))),
    (Rule.LEFTOVERS, PROBLEM, lambda: case(leftovers=("Put p2p1 into the bridge.",))),
    (Rule.MANAGEMENT, OK, case),
    (Rule.MANAGEMENT, WARNING, lambda: case(replace(embedded(), management=None))),
    (Rule.MANAGEMENT, PROBLEM,
     lambda: case(replace(embedded(), wire=replace(WIRE, port="mgmt0")))),
    (Rule.PORT_MISSING, PROBLEM, lambda: case(replace(embedded(), wire=replace(WIRE, port="x")))),
    (Rule.PORT_MISSING, NONE, lambda: case(replace(embedded(), wire=None))),
    (Rule.PORT_MISSING, WARNING, lambda: case(recorded("paravirtual"))),
    (Rule.PORT_IN_USE, OK, case),
    (Rule.PORT_IN_USE, PROBLEM, lambda: case(in_bridge(embedded(), "p2p1", "br-mine"))),
    (Rule.PORT_IN_USE, WARNING, lambda: case(vfs(SAFE))),
    (Rule.GROUP_NOT_VIABLE, WARNING, case),
    (Rule.GROUP_NOT_VIABLE, NONE, lambda: case(without_iommu(embedded()))),
    (Rule.NO_RESET, WARNING, lambda: case(port(embedded(), "p1p1", reset_methods=()))),
    (Rule.BUS_RESET, WARNING, lambda: case(port(embedded(), "p1p1", reset_methods=("bus",)))),
    (Rule.BUS_RESET, WARNING, lambda: case(symptoms=log(NVIDIA))),
    (Rule.NOT_GIVEN_BACK, PROBLEM, lambda: case(recorded("embedded_busy"))),
    (Rule.NOT_GIVEN_BACK, OK,
     lambda: case(recorded("embedded_busy"), vms=(vm(devices=("0000:04:00.1",)),))),
    (Rule.NOT_GIVEN_BACK, WARNING,
     lambda: case(recorded("embedded_busy"), vms_unread="libvirt does not answer.")),
    (Rule.SRIOV_MISSING, OK, case),
    (Rule.SRIOV_MISSING, WARNING, lambda: case(recorded("paravirtual"))),
    (Rule.SRIOV_MISSING, WARNING,
     lambda: case(replace(embedded(), wire=replace(WIRE, port="p1p1")))),
    (Rule.NUMVFS_REFUSED, OK, case),
    (Rule.NUMVFS_REFUSED, NONE, lambda: case(recorded("paravirtual"))),
    (Rule.NUMVFS_REFUSED, PROBLEM,
     lambda: case(symptoms=log("igb: not enough MMIO resources for SR-IOV"))),
    (Rule.BRIDGE_ON_PORT_WITH_VFS, NONE, case),
    (Rule.BRIDGE_ON_PORT_WITH_VFS, WARNING, lambda: case(vfs(SAFE))),
    (Rule.BRIDGE_ON_PORT_WITH_VFS, OK,
     lambda: case(replace(vfs(SAFE), wire=replace(WIRE, port="p1p1")))),
    (Rule.PF_DOWN, PROBLEM, lambda: case(port(vfs(SAFE), "p2p1", link=LinkState.DOWN))),
    (Rule.PF_DOWN, WARNING,
     lambda: case(vfs(SAFE), symptoms=log("igbvf: PF still in reset state. Is the PF up?"))),
    (Rule.VF_MAC_UNSET, OK, lambda: case(vfs(SAFE))),
    (Rule.VF_MAC_UNSET, WARNING,
     lambda: case(vfs(replace(SAFE, mac="00:00:00:00:00:00")))),
    (Rule.VF_MAC_UNSET, UNKNOWN, lambda: case(vfs())),
    (Rule.VF_TRUST, OK, lambda: case(vfs(SAFE))),
    (Rule.VF_TRUST, WARNING, lambda: case(vfs(replace(SAFE, trusted=True)))),
    (Rule.VF_TRUST, WARNING, lambda: case(vfs(replace(SAFE, spoof_check=False)))),
    (Rule.VF_TRUST, WARNING,
     lambda: case(vfs(SAFE), symptoms=log("i40e: VF is not trusted, switch it on"))),
    (Rule.VF_REGISTERS_DEAD, UNKNOWN, lambda: case(vfs(SAFE))),
    (Rule.VF_REGISTERS_DEAD, PROBLEM, lambda: case(vfs(SAFE), guest=Guest(
        "vm1", interfaces=(GuestInterface("eth0", SAFE.mac, "igbvf", False),)))),
    (Rule.VF_REGISTERS_DEAD, OK, lambda: case(vfs(SAFE), guest=Guest(
        "vm1", interfaces=(GuestInterface("eth0", SAFE.mac, "igbvf", True),)))),
    (Rule.IGB_CHECKSUMS, UNKNOWN, lambda: case(vfs(SAFE))),
    (Rule.IGB_CHECKSUMS, WARNING, lambda: case(
        vfs(SAFE), symptoms=replace(CALM, offloads={"p2p1": {"rx-checksumming": True}}))),
    (Rule.IGB_CHECKSUMS, NONE, lambda: case(
        replace(vfs(SAFE), cpu=replace(embedded().cpu, is_guest=False)))),
    (Rule.VHOST_NOT_USED, PROBLEM, lambda: case(vms=(VM,), guest=Guest("vm1"))),
    (Rule.VHOST_NOT_USED, OK,
     lambda: case(vms=(VM,), guest=Guest("vm1", vhost_workers=(7,)))),
    (Rule.VHOST_NOT_USED, NONE,
     lambda: case(vms=(vm(cards=(replace(CARD, backend="qemu"),)),), guest=Guest("vm1"))),
    (Rule.MACVTAP_ISOLATION, OK, lambda: case(recorded("embedded_busy"))),
    (Rule.MACVTAP_VEPA, OK, lambda: case(recorded("embedded_busy"))),
    (Rule.MACVTAP_RX_FILTERS, WARNING,
     lambda: case(vms=(vm(cards=(replace(CARD, kind="direct"),)),))),
    (Rule.MACVTAP_RX_FILTERS, OK,
     lambda: case(vms=(vm(cards=(replace(CARD, kind="direct", trusts_filters=True),)),))),
    (Rule.MACVTAP_RX_FILTERS, UNKNOWN, lambda: case(vms_unread="libvirt does not answer.")),
    (Rule.QUEUES_MISMATCH, WARNING, lambda: case(vms=(vm(cards=(replace(CARD, queues=4),)),))),
    (Rule.QUEUES_MISMATCH, OK, lambda: case(vms=(vm(cards=(replace(CARD, queues=2),)),))),
    (Rule.QUEUES_MISMATCH, WARNING, lambda: case(
        vms=(vm(cards=(replace(CARD, queues=2),)),),
        guest=Guest("vm1", channels={"eth0": Channels(2, 1)},
                    interfaces=(GuestInterface("eth0", CARD.mac, "virtio_net", True),)))),
    (Rule.VF_BLOCKS_MIGRATION, WARNING, lambda: case(vms=(vm(devices=("0000:0b:10.0",)),))),
    (Rule.VF_BLOCKS_MIGRATION, OK, lambda: case(vms=(vm(
        devices=("0000:0b:10.0",),
        cards=(replace(CARD, teaming="persistent"),
               replace(CARD, kind="hostdev", teaming="transient"))),))),
    (Rule.WINDOWS_NETKVM, WARNING, lambda: case(vms=(vm(windows=True),))),
    (Rule.WINDOWS_NETKVM, NONE, lambda: case(vms=(VM,))),
    (Rule.GUEST_DRIVER_MISSING, PROBLEM,
     lambda: case(guest=Guest("vm1", drivers={"igbvf": "missing"}))),
    (Rule.GUEST_DRIVER_MISSING, UNKNOWN, lambda: case(guest=Guest("vm1", unread="No agent."))),
    (Rule.KERNELSPEC_MISSING, OK, case),
    (Rule.KERNELSPEC_MISSING, PROBLEM, lambda: case(desk=replace(DESK, kernelspec=None))),
    (Rule.KERNELSPEC_MISSING, PROBLEM, lambda: case(desk=replace(DESK, kernel_runs=False))),
    (Rule.PLOTLY_NOT_OFFLINE, PROBLEM, lambda: case(desk=replace(DESK, plotly_script=None))),
    (Rule.WIDGETS_MISSING, WARNING, lambda: case(desk=replace(DESK, ipywidgets=None))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "verdict", "make"), TABLE, ids=[f"{row[0]}-{row[1]}" for row in TABLE]
)
def test_rule(rule: Rule, verdict: Verdict, make: Made) -> None:
    one = found(rule, make())
    assert one.verdict is verdict, one
    assert one.read
    assert one.found
    assert bool(one.fix) == (verdict in (PROBLEM, WARNING)) or verdict is UNKNOWN


def test_every_rule_of_the_doctor_is_in_the_table_or_provoked() -> None:
    provoked_only = {Rule.IPROUTE_MISSING, Rule.BRIDGE_NAME_TAKEN}
    judged = {one.rule for one in judge(case()).findings}
    assert judged - {row[0] for row in TABLE} == provoked_only


def test_findings_come_in_the_order_of_the_rules() -> None:
    order = list(Rule)
    places = [order.index(one.rule) for one in judge(case()).findings]
    assert places == sorted(places)


@pytest.mark.parametrize("make", [row[2] for row in TABLE], ids=[str(row[0]) for row in TABLE])
def test_what_keeps_a_scheme_from_a_host_the_doctor_names_by_the_same_id(make: Made) -> None:
    one = make()
    diagnosis = judge(one)
    for scheme, found in zip(CATALOGUE, diagnosis.schemes, strict=True):
        tried = attempt(scheme, one.facts)
        assert (found.rule, found.found, found.fix) == (tried.rule, tried.message, tried.todo)
        if not found.possible:
            same = diagnosis.finding(found.rule)
            assert same.verdict in (PROBLEM, WARNING), f"{found} but {same}"


def test_schemes_say_why_they_cannot() -> None:
    diagnosis = judge(case(without_iommu(embedded())))
    vf = next(one for one in diagnosis.schemes if one.scheme == "sriov-vf")
    assert (vf.possible, vf.rule) == (False, Rule.IOMMU_OFF)
    assert diagnosis.finding(Rule.IOMMU_OFF).verdict is PROBLEM
    assert all(one.possible for one in judge(case()).schemes)


def test_exit_code_and_json_and_display() -> None:
    well, ill = judge(case()), judge(case(recorded("paravirtual")))
    assert (well.exit_code, ill.exit_code) == (0, 3)
    plain = json.loads(json.dumps(ill.to_dict()))
    assert plain["exit_code"] == 3
    assert plain["counts"]["problem"] == len(ill.problems)
    assert {one["rule"] for one in plain["findings"]} == {str(one.rule) for one in ill.findings}
    text = str(ill)
    assert text.index("✗  kvm-not-usable") < text.index("✓  iproute2-missing")
    assert "fix: " in text
    html = ill._repr_html_()
    assert 'class="problem"' in html
    assert "<script" not in html
    with pytest.raises(UsageError, match="no rule 'nonsense'"):
        ill.finding("nonsense")


def test_recorded_symptoms(data: Path) -> None:
    text = (data / "doctor" / "symptoms-pf-down.txt").read_text()
    seen = parse_symptoms(parse_sections(text))
    assert seen.daemon == Daemon("libvirtd", 8388608, may_raise=True)
    assert (seen.bridge_netfilter, seen.forward_policy) == (True, "ACCEPT")
    assert seen.offloads["p2p1"] == dict.fromkeys(
        ("rx-checksumming", "tx-checksumming", "generic-segmentation-offload"), True
    )
    assert "PF still in reset state" in str(seen.says("reset state"))
    down = port(vfs(SAFE), "p2p1", link=LinkState.DOWN)
    assert "Is the PF interface up?" in found(Rule.PF_DOWN, case(down, symptoms=seen)).found


def test_recorded_guest_and_domain(data: Path) -> None:
    guest = parse_guest("kvmlab-vm", (data / "doctor" / "guest-virtio.txt").read_text())
    assert set(guest.drivers.values()) == {"registered"}
    assert guest.channels == {"eth0": Channels(2, 1)}
    (inside,) = guest.interfaces
    assert (inside.driver, inside.carrier) == ("virtio_net", True)
    running = parse_vm((data / "doctor" / "domain-virtio.xml").read_text())
    assert (running.name, running.lab, running.memory_mib) == ("kvmlab-vm", True, 512)
    (card,) = running.cards
    assert (card.kind, card.model, card.backend, card.queues) == ("bridge", "virtio", "vhost", 2)
    assert card.mac == inside.mac


def test_a_windows_domain_with_a_vf_and_a_standby() -> None:
    running = parse_vm(
        """
        <domain type='kvm' xmlns:x='http://libosinfo.org/xmlns/libvirt/domain/1.0'>
          <name>win</name><memory unit='GiB'>4</memory><vcpu current='2'>8</vcpu>
          <metadata><x:libosinfo><x:os id='http://microsoft.com/win/11'/></x:libosinfo></metadata>
          <devices>
            <interface type='hostdev'><mac address='52:54:00:00:00:02'/>
              <source><address type='pci' domain='0x0000' bus='0x0b' slot='0x10' function='0x0'/>
              </source><teaming type='transient' persistent='ua-x'/></interface>
            <hostdev mode='subsystem' type='usb'><source><address bus='1' device='2'/></source>
            </hostdev>
          </devices>
        </domain>"""
    )
    assert (running.windows, running.memory_mib, running.vcpus) == (True, 4096, 2)
    assert running.devices == ("0000:0b:10.0",)
    assert running.cards[0].teaming == "transient"


@pytest.mark.parametrize("text", ["eth0 52:54:00:00:00:01\n", "a b c d e\n"])
def test_a_guest_that_says_something_else(text: str) -> None:
    frame = "@@ begin {0}\n{1}\n@@ end {0} 0\n"
    whole = "".join(
        frame.format(name, body)
        for name, body in (("drivers", ""), ("interfaces", text), ("channels", ""))
    )
    with pytest.raises(OutputError, match="card of the guest"):
        parse_guest("vm1", whole)


def test_this_machine_is_read() -> None:
    desk = read_desk()
    assert desk.plotly_script is not None
    assert desk.ipywidgets is not None


@pytest.mark.parametrize(
    ("said", "name", "word"),
    [
        ("tee: sriov_numvfs: Device or resource busy", "EBUSY", "write 0"),
        ("write error: Numerical result out of range", "ERANGE", "sriov_totalvfs is 7"),
        ("tee: x: Cannot allocate memory", "ENOMEM", "MMIO"),
        ("tee: x: No space left on device", "ENOSPC", "interrupt"),
        ("tee: x: Permission denied", "EACCES", "root"),
        ("tee: x: Operation not permitted", "EPERM", "in use"),
        ("sh: 1: echo: echo: I/O error", None, "refused 9 VFs"),
    ],
)
def test_numvfs_errors_are_explained(said: str, name: str | None, word: str) -> None:
    assert error_name(said) == name
    assert word in explain_numvfs(said, wanted=9, port=embedded().port("p2p1"))
