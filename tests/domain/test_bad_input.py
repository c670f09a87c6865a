"""Domain XML of other programs, truncated XML, and other text."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kvmlab.domain import Domain, Interface, PciAddress, diff_of_attaching
from kvmlab.domain.persistent_xml import controllers_of, defined_with, defined_without, is_defined
from kvmlab.errors import KvmlabError, OutputError
from kvmlab.facts import HostFacts, inspect
from kvmlab.hosts import Cable
from kvmlab.schemes import Virtio
from tests.facts.recorded_host import load

TAP = Interface.on_bridge("kvmlab0", mac="52:54:00:00:00:01", model="virtio")

WILD = (
    # A minimal one, as `virt-install --print-xml` of long ago.
    "<domain type='qemu'><name>a</name><memory>1</memory><os><type>hvm</type></os></domain>",
    "<domain type='kvm'><devices/></domain>",
    # Xen, LXC, bhyve: read, and a plan shows what would be added.
    "<domain type='xen'><name>x</name><devices><interface type='bridge'/></devices></domain>",
    "<domain type='lxc'><name>c</name><os><type>exe</type></os><devices><console/></devices>"
    "</domain>",
    # Interfaces of every kind, some without MAC, alias, target or model.
    "<domain><devices><interface type='user'/><interface type='vhostuser'><source type='unix' "
    "path='/x' mode='client'/></interface><interface type='vdpa'><source dev='/dev/vhost-vdpa-0'/>"
    "</interface><interface type='hostdev'><source><address type='pci' domain='0x0000' bus='0x0b' "
    "slot='0x10' function='0x1'/></source></interface><interface type='ethernet'><mac "
    "address='52:54:00:00:00:09'/></interface></devices></domain>",
    # Namespaces and comments of other tools, and names in other scripts.
    "<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0' type='kvm'><name>虚拟机 &amp; "
    "&lt;b&gt;</name><!-- by hand --><metadata><x:y xmlns:x='urn:x'/></metadata><devices/>"
    "<qemu:commandline><qemu:arg value='-s'/></qemu:commandline></domain>",
)  # fmt: skip


@pytest.fixture(scope="module")
def facts(data: Path) -> HostFacts:
    return inspect(load(data / "facts" / "embedded.json"), prove_kvm=False)


@pytest.mark.parametrize("text", WILD)
def test_a_real_definition_is_unchanged_after_undo(text: str) -> None:
    mac = "52:54:00:00:00:09"  # one of them has a card of its own with this MAC
    written = defined_with(text, TAP.xml(), mac)
    assert is_defined(written, mac)
    assert not is_defined(text, mac)
    if "<devices" in text:
        less = defined_without(written, mac, controllers=controllers_of(text))
        assert less == Domain.parse(text).xml()
    for part in ("qemu:arg", "by hand", "urn:x", "vhost-vdpa-0"):
        assert (part in written) is (part in text)


@pytest.mark.parametrize("text", WILD)
def test_a_real_domain(text: str) -> None:
    domain = Domain.parse(text)
    for interface in domain.interfaces:
        _ = (interface.mac, interface.alias, interface.target_dev, interface.xml())
    assert domain.interface("52:54:00:00:00:01") is None
    assert not domain.is_lab
    diff = diff_of_attaching(text, TAP)
    added = [line for line in diff.splitlines() if line.startswith("+") and "+++" not in line]
    assert any("kvmlab0" in line for line in added)
    assert not re.search(r"^-\s*<(name|metadata|qemu)", diff, re.MULTILINE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "error: failed to get domain 'x'",
        "<domain>",
        "<network/>",
        "<domain><devices></domain>",
        "\x00",
        '<!DOCTYPE d [<!ENTITY a "b">]><network>&a;</network>',
    ],
)
def test_other_xml_is_refused(text: str) -> None:
    with pytest.raises(OutputError):
        Domain.parse(text)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1))
def test_truncated_xml_is_refused(data: Path, share: float) -> None:
    whole = (data / "domain" / "users-own.xml").read_text()
    with suppress(OutputError):
        assert Domain.parse(whole[: int(len(whole) * share)]).xml()


@given(st.text(max_size=20))
@example("0000:0b:10.8")
@example("0b:10.0")
@example("0000:0b:20.0")
@example("0000:0b:10.0\n")
def test_any_text_as_a_pci_address(text: str) -> None:
    with suppress(KvmlabError):
        assert str(PciAddress.parse(text))


@pytest.mark.parametrize("port", ["a;reboot", "$(reboot)", "<b>", "'\"", "ä" * 7, "x" * 15, "-x"])
def test_a_port_with_an_odd_name_is_shown_and_escaped(facts: HostFacts, port: str) -> None:
    """A name that the kernel takes goes as one word into commands, and escaped into HTML."""
    links = tuple(
        replace(link, name=port) if link.name == "p2p1" and not link.netns else link
        for link in facts.links
    )
    plan = Virtio().plan(
        replace(facts, links=links), cable=Cable(port, "192.0.2.10/24", "192.0.2.1/24")
    )
    argvs = [command.argv for step in plan.steps[:-2] for command in step.do]  # type: ignore[attr-defined]
    assert any(port in argv for argv in argvs)
    assert port in str(plan)
    assert "<b>" not in plan._repr_html_()
