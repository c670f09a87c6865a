"""Parsers on real output, whole and cut off anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvmlab.errors import OutputError
from kvmlab.facts import KvmProof
from kvmlab.facts.kvm import parse_boot, parse_parameters
from kvmlab.facts.libvirt import (
    parse_domain_capabilities,
    parse_domain_type,
    version_text,
)
from kvmlab.facts.machine import (
    parse_cpu,
    parse_hugepages,
    parse_identity,
    parse_nodes,
    parse_range,
    parse_release,
)
from kvmlab.facts.network import parse_links, parse_routes, parse_speeds
from kvmlab.facts.pci import (
    parse_classes,
    parse_descriptions,
    parse_groups,
    parse_names,
    parse_pci_tree,
    parse_virtio,
)
from kvmlab.hosts import parse_files, parse_output

DATA = Path(__file__).resolve().parent.parent / "data" / "facts"
RECORDED = [
    reply
    for path in sorted(DATA.glob("*.json"))
    for reply in json.loads(path.read_text())["replies"]
]
SAID = [("".join(reply["stdout"]), reply["input"]) for reply in RECORDED]
ANSWERS = [text for text, _ in SAID if text.startswith("=== ")]
BOOTS = [text for text, script in SAID if script.startswith("# Boot a real guest")]
CAPABILITIES = (DATA / "domain_capabilities_11.3.xml").read_text()
OLD_CAPABILITIES = (DATA / "domain_capabilities_9.0.xml").read_text()

FILES = {"/proc/meminfo": "MemTotal: 1024 kB", "/sys/devices/system/cpu/online": "0-1"}

#: The parser of each section; texts of all sections together are what real hosts printed.
PARSERS: dict[str, Callable[[str], object]] = {
    "identity": parse_identity,
    "cpu": lambda text: parse_cpu(text, files=FILES, architecture="x86_64"),
    "nodes": parse_nodes,
    "files": lambda text: _read_files(parse_files(text)),
    "links": parse_files,
    "groups": parse_groups,
    "names": parse_names,
    "virtio": parse_virtio,
    "descriptions": parse_descriptions,
    "addresses": parse_links,
    "default_routes": parse_routes,
    "route_to_peer": parse_routes,
    "speeds": lambda text: parse_speeds(parse_files(text)),
}
TEXTS = [
    (section.name.partition(" ")[0], section.text)
    for answer in ANSWERS
    for section in parse_output(answer).sections
    if section.name.partition(" ")[0] in PARSERS and section.text
]


def _read_files(files: dict[str, str]) -> object:
    tree = parse_pci_tree(files, {})
    parse_classes(tree)
    for address in tree.attributes:
        for name in ("numa_node", "sriov_totalvfs", "sriov_numvfs"):
            tree.number(address, name)
    parse_speeds(files)
    parse_hugepages(files)
    parse_release(files.get("/etc/os-release", ""))
    parse_parameters(files)
    return parse_cpu("model name: x", files=files, architecture="x86_64")


def test_every_parser_has_a_text() -> None:
    assert {name for name, _ in TEXTS} == set(PARSERS)
    assert BOOTS


@pytest.mark.parametrize(
    ("xdp", "is_generic"),
    [
        ({"mode": 1, "prog": {"id": 7}}, False),
        ({"mode": 2, "prog": {"id": 7}}, True),
        ({"mode": 4, "attached": [{"mode": 1, "id": 7}, {"mode": 2, "id": 8}]}, True),
        ({"mode": 4, "attached": [{"mode": 1, "id": 7}, {"mode": 3, "id": 8}]}, False),
    ],
)
def test_modes_of_xdp_programs(xdp: dict[str, Any], is_generic: bool) -> None:
    record = {"ifindex": 2, "ifname": "eth0", "mtu": 1500, "flags": ["UP"], "xdp": xdp}
    (link,) = parse_links(json.dumps([record]))
    assert link.xdp
    assert link.generic_xdp is is_generic


@pytest.mark.parametrize(("name", "text"), TEXTS, ids=[name for name, _ in TEXTS])
def test_real_output_is_understood(name: str, text: str) -> None:
    assert PARSERS[name](text)


@given(st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_cut_or_damaged_output_is_refused_or_understood(data: st.DataObject) -> None:
    name, text = data.draw(st.sampled_from(TEXTS))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    middle = data.draw(st.text(max_size=8))
    damaged = text[:start] + middle + text[end:]
    with suppress(OutputError):
        PARSERS[name](damaged)


@given(st.data())
def test_a_cut_answer_is_refused(data: st.DataObject) -> None:
    answer = data.draw(st.sampled_from(ANSWERS))
    cut = answer[: data.draw(st.integers(0, len(answer) - 2))]
    with pytest.raises(OutputError):
        parse_output(cut)


@pytest.mark.parametrize(("text", "count"), [("0", 1), ("0-1", 2), ("0-3,8", 5), ("0-3,8-9\n", 6)])
def test_ranges(text: str, count: int) -> None:
    assert parse_range(text) == count


@pytest.mark.parametrize("text", ["", "a", "0-", "0,,1", "٣"])
def test_ranges_that_are_none(text: str) -> None:
    with pytest.raises(OutputError):
        parse_range(text)


def test_routes_of_several_hops() -> None:
    text = json.dumps([{"dst": "default", "flags": [], "nexthops": [{"dev": "a"}, {"dev": "b"}]}])
    assert parse_routes(text) == ("a", "b")
    assert parse_routes("") == parse_routes("[]") == parse_routes("[{}]") == ()


def test_unknown_speeds_are_left_out() -> None:
    names = {"a": "1000", "b": "-1", "c": "4294967295", "d": "", "e": "0"}
    tree = {f"/sys/class/net/{name}/speed": value for name, value in names.items()}
    assert parse_speeds(tree) == {"a": 1000}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        "[1]",
        '[{"ifname":"a"}]',
        '[{"ifname":"a","ifindex":"x","mtu":1}]',
        '[{"ifname":"a","ifindex":null,"mtu":1}]',
        '[{"ifname":"a","ifindex":1,"mtu":1,"vfinfo_list":[7]}]',
    ],
)
def test_links_that_are_none(text: str) -> None:
    with pytest.raises(OutputError, match="`ip -j`"):
        parse_links(text)


@pytest.mark.parametrize("text", ["hello\n", "0000:0b:00.0\n", '0000:0b:00.0 "a" "b\n'])
def test_descriptions_that_are_none(text: str) -> None:
    with pytest.raises(OutputError, match="lspci"):
        parse_descriptions(text)


def test_a_release() -> None:
    assert parse_release('ID=x\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n').startswith("Debian")
    assert parse_release("") == parse_release("PRETTY_NAME=\n") == "unknown"
    with pytest.raises(OutputError, match="os-release"):
        parse_release('PRETTY_NAME="Debian')


@pytest.mark.parametrize("text", ["", "kvmlab x86_64\n", "kvmlab 6.12 x86_64"])
def test_identities_that_are_none(text: str) -> None:
    with pytest.raises(OutputError, match="identity"):
        parse_identity(text)


def test_attributes_that_are_no_numbers() -> None:
    path = "/sys/bus/pci/devices/0000:0b:00.0"
    tree = parse_pci_tree({f"{path}/numa_node": "-1", f"{path}/sriov_numvfs": "x"}, {})
    assert tree.number("0000:0b:00.0", "numa_node") == -1
    assert tree.number("0000:0b:00.0", "sriov_totalvfs") is None
    with pytest.raises(OutputError, match="sriov_numvfs"):
        tree.number("0000:0b:00.0", "sriov_numvfs")
    with pytest.raises(OutputError, match="class"):
        parse_classes(tree)


def test_domain_capabilities() -> None:
    parsed = parse_domain_capabilities(CAPABILITIES)
    assert (parsed.virt_type, parsed.architecture) == ("kvm", "x86_64")
    assert parsed.emulator.endswith("qemu-system-x86_64")
    assert parsed.vcpus_max == 255
    assert "host-passthrough" in parsed.cpu_modes
    assert parsed.pci_hostdev
    assert "default" in parsed.interface_backends


def test_domain_capabilities_of_an_older_libvirt() -> None:
    parsed = parse_domain_capabilities(OLD_CAPABILITIES)
    assert (parsed.virt_type, parsed.pci_hostdev) == ("kvm", True)
    assert parsed.interface_backends == ()


@given(st.integers(0, len(CAPABILITIES) - 20))
def test_cut_capabilities(end: int) -> None:
    with pytest.raises(OutputError):
        parse_domain_capabilities(CAPABILITIES[:end])


@pytest.mark.parametrize("parse", [parse_domain_capabilities, parse_domain_type])
@pytest.mark.parametrize("text", ["", "<other/>", "text"])
def test_other_documents(parse: Callable[[str], Any], text: str) -> None:
    with pytest.raises(OutputError):
        parse(text)


def test_domain_type_and_versions() -> None:
    assert parse_domain_type("<domain type='kvm' id='1'><name>a</name></domain>") == "kvm"
    assert version_text(11003000) == "11.3.0"
    assert version_text(10000013) == "10.0.13"


@pytest.mark.parametrize(
    ("text", "proof"),
    [
        *((text, KvmProof.KERNEL) for text in BOOTS),
        ("firmware: SeaBIOS (version 1.16.2-debian-1.16.2-1)\n", KvmProof.FIRMWARE),
        ("nothing: there is no QEMU on the host\n", KvmProof.NONE),
        # A 64-bit kernel on a paravirtual KVM, as QEMU 7.2 reports its end.
        ("nothing: Code=05 83 fa 0f 77 b5 4d 01 fd 41 b8 01 00 00 00 89 c8\n", KvmProof.NONE),
    ],
)
def test_boots(text: str, proof: KvmProof) -> None:
    assert parse_boot(text)[0] is proof


@pytest.mark.parametrize("text", ["", "kernel", "kern: x", "firmware\n"])
def test_boots_that_are_none(text: str) -> None:
    with pytest.raises(OutputError):
        parse_boot(text)


@given(st.text())
def test_other_boots_are_refused(text: str) -> None:
    with suppress(OutputError):
        parse_boot(text)


def test_a_mapping_of_files_may_be_frozen() -> None:
    assert parse_hugepages(MappingProxyType({"/etc/passwd": "x"})) == ()
