"""Judgements over facts: KVM, handing over, and who carries the management connection."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvmlab.facts import CpuFacts, IommuGroup, KvmFacts, KvmProof, Link, ModuleState, Rule
from kvmlab.facts.functions import judge_handover
from kvmlab.facts.kvm import judge_kvm, needs_boot
from kvmlab.facts.machine import parse_modules
from kvmlab.facts.management import Management, find_management
from kvmlab.facts.pci import PciTree

CPU = CpuFacts("EPYC", "AMD", "x86_64", 2, 1, "svm", True, 1024)
NODES = {"/dev/kvm": True}


def _kvm(
    cpu: CpuFacts = CPU,
    *,
    nodes: dict[str, bool] = NODES,
    guests: tuple[str, ...] = (),
    boot: tuple[KvmProof, str] | None = None,
) -> KvmFacts:
    return judge_kvm(
        cpu=cpu,
        modules={"kvm_amd": ModuleState.LOADED},
        nodes=nodes,
        parameters={"kvm_amd.nested": "0"},
        guests=guests,
        boot=boot,
    )


def test_a_running_guest_proves_kvm_and_nothing_is_booted() -> None:
    assert not needs_boot(CPU, NODES, ("web",))
    facts = _kvm(guests=("web",))
    assert (facts.usable, facts.proof) == (True, KvmProof.GUEST)
    assert facts.reason == "web is alive under KVM."
    assert facts.nested is False


def test_flags_and_node_prove_nothing() -> None:
    assert needs_boot(CPU, NODES, ())
    facts = _kvm(boot=(KvmProof.NONE, "KVM internal error. Suberror: 1"))
    assert not facts.usable
    assert "no guest boots: KVM internal error" in facts.reason


def test_no_node() -> None:
    assert not needs_boot(CPU, {}, ())
    facts = _kvm(nodes={})
    assert not facts.usable
    assert "There is no /dev/kvm" in facts.reason
    assert facts.rule is Rule.KVM_NOT_USABLE


def test_flags_are_asked_only_where_kvm_needs_them() -> None:
    bare = replace(CPU, virtualisation=None)
    assert not needs_boot(bare, NODES, ())
    assert not _kvm(bare, guests=("web",)).usable
    assert needs_boot(replace(bare, architecture="aarch64"), NODES, ())


def test_modules_built_into_the_kernel() -> None:
    judged = parse_modules(
        loaded="igb 315392 0 - Live 0x0000000000000000\n",
        installed="/lib/modules/6.1/modules.builtin:kernel/drivers/vfio/pci/vfio-pci.ko\n"
        "/lib/modules/6.1/modules.dep:kernel/drivers/net/tun.ko\n",
        present="bridge\nigb\n",
    )
    assert judged["vfio_pci"] is judged["bridge"] is ModuleState.BUILTIN
    assert judged["tun"] is ModuleState.AVAILABLE
    assert judged["igb"] is ModuleState.LOADED
    assert judged["macvtap"] is ModuleState.MISSING


A, B, C = "0000:04:00.0", "0000:04:00.1", "0000:00:1c.0"


def _tree(drivers: dict[str, str], **attributes: str) -> PciTree:
    return PciTree({A: attributes or {"reset_method": "flr"}}, drivers, {}, {})


@pytest.mark.parametrize(
    ("driver", "class_", "rule"),
    [
        ("e1000e", 0x020000, Rule.GROUP_NOT_VIABLE),
        ("vfio-pci", 0x020000, None),
        (None, 0x020000, None),
        ("pcieport", 0x060400, None),
        # An ISA bridge calls itself a bridge and has registers like any other device.
        ("lpc_ich", 0x060100, Rule.GROUP_NOT_VIABLE),
    ],
)
def test_who_makes_a_group_unfit(driver: str | None, class_: int, rule: Rule | None) -> None:
    judged = judge_handover(
        A,
        group=IommuGroup(1, (A, B)),
        tree=_tree({A: "e1000e", **({B: driver} if driver else {})}),
        classes={A: 0x020000, B: class_},
        managing=frozenset(),
    )
    assert (judged.possible, judged.rule) == (rule is None, rule)


def test_a_group_with_the_management_connection_is_never_handed_over() -> None:
    judged = judge_handover(
        A, group=IommuGroup(1, (A, B)), tree=_tree({}), classes={}, managing=frozenset({B})
    )
    assert (judged.rule, judged.in_the_way) == (Rule.MANAGEMENT, (B,))


@pytest.mark.parametrize(
    ("attributes", "possible"),
    [({"reset_method": "bus"}, True), ({"reset": "present"}, True), ({"vendor": "0x8086"}, False)],
)
def test_a_function_has_to_be_reset(attributes: dict[str, str], possible: bool) -> None:
    judged = judge_handover(
        A,
        group=IommuGroup(1, (A,)),
        tree=_tree({}, **attributes),
        classes={},
        managing=frozenset(),
    )
    assert judged.possible is possible


def _link(name: str, kind: str = "", **more: object) -> Link:
    link = Link(name, 1, kind, up=True, carrier=True, mtu=1500, mac="")
    return replace(link, **more)  # type: ignore[arg-type]


LO = _link("lo", addresses=("127.0.0.1/8", "::1/128"), loopback=True)
STACK = (
    LO,
    _link("eth0", master="bond0"),
    _link("eth1", master="bond0"),
    _link("bond0", "bond"),
    _link("vlan7", "vlan", parent="bond0", master="br0"),
    _link("vnet0", "tun", master="br0"),
    _link("br0", "bridge", addresses=("192.0.2.5/24", "2001:db8::5/64")),
    _link("eth2", addresses=("198.51.100.1/24",)),
    _link("eth0", netns="other", addresses=("192.0.2.5/24",)),
)
BR0_CARRIERS = {"br0", "vlan7", "bond0", "eth0", "eth1"}


def _management(
    ssh: str = "", to_peer: tuple[str, ...] = (), default: tuple[str, ...] = ()
) -> Management:
    return find_management(
        links=STACK, ssh_connection=ssh, route_to_peer=to_peer, default_routes=default
    )


@pytest.mark.parametrize(
    "ssh",
    [
        "203.0.113.9 4711 192.0.2.5 22",
        "2001:db8::9 4711 2001:db8::5 22",
        "::ffff:203.0.113.9 4711 ::ffff:192.0.2.5 22",
    ],
)
def test_everything_below_a_bridge_carries_it(ssh: str) -> None:
    judged = _management(ssh)
    assert judged.interface == "br0"
    assert set(judged.carriers) == BR0_CARRIERS


def test_the_default_route_is_carried_too() -> None:
    judged = _management("203.0.113.9 4711 198.51.100.1 22", default=("br0",))
    assert judged.interface == "eth2"
    assert set(judged.carriers) == {"eth2", *BR0_CARRIERS}


def test_behind_a_translation_the_route_back_decides() -> None:
    judged = _management("203.0.113.9 4711 10.9.9.9 22", to_peer=("eth2",), default=("br0",))
    assert judged.interface == "eth2"


def test_on_this_machine_the_default_route_decides() -> None:
    assert _management(default=("eth2",)) == Management("eth2", ("eth2",))
    assert _management("127.0.0.1 4711 127.0.0.1 22", ("lo",), ("eth2",)).interface == "eth2"


@pytest.mark.parametrize("ssh", ["", "nonsense", "a b c d", "1.2.3.4 1 fe80::1%eth9 22"])
def test_nothing_known(ssh: str) -> None:
    assert _management(ssh) == Management(None, ())
