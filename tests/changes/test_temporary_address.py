"""The host's end of a VM's path: a tap's bridge, a macvtap's port, a VF's PF."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kvmlab.changes import Nic
from kvmlab.changes.temporary_address import host_end
from kvmlab.errors import Unavailable
from kvmlab.facts import HostFacts, Link, VfSettings
from tests.advice.builders import embedded


def with_links(*links: Link) -> HostFacts:
    facts = embedded()
    return replace(facts, links=(*facts.links, *links))


def nic(host_device: str | None) -> Nic:
    return Nic(
        scheme="x",
        label="a scheme",
        backend="vhost",
        mac="52:54:00:00:00:01",
        guest_interface="eth0",
        guest_driver="virtio_net",
        host_device=host_device,
        vm_address="192.0.2.10/24",
        peer_address="192.0.2.1/24",
        queues=1,
        attach_sec=0.0,
        configure_sec=0.0,
    )


def link(name: str, kind: str, *, master: str | None = None, parent: str | None = None) -> Link:
    port = embedded().link("p2p1")
    assert port is not None
    return replace(port, name=name, kind=kind, master=master, parent=parent)


def test_a_tap_leads_to_its_bridge() -> None:
    facts = with_links(link("br7", "bridge"), link("vnet0", "tun", master="br7"))
    assert host_end(facts, nic("vnet0")).name == "br7"


def test_a_macvtap_leads_to_its_port() -> None:
    facts = with_links(link("macvtap0", "macvtap", parent="p2p1"))
    assert host_end(facts, nic("macvtap0")).name == "p2p1"


def test_a_vf_leads_to_its_pf() -> None:
    facts = embedded()
    own = VfSettings(0, nic(None).mac, spoof_check=True, trusted=False, link="auto")
    ports = tuple(
        replace(port, vf_settings=(own,)) if port.name == "p2p1" else port for port in facts.ports
    )
    assert host_end(replace(facts, ports=ports), nic(None)).name == "p2p1"


@pytest.mark.parametrize("device", [None, "vnet9"])
def test_a_nic_of_the_vm_alone_has_no_end_on_the_host(device: str | None) -> None:
    with pytest.raises(Unavailable, match="no device of the host") as caught:
        host_end(embedded(), nic(device))
    assert caught.value.rule == "port-missing"
