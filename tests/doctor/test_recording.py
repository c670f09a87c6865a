"""Recordings of hosts: what is replayed says the same, with other names and addresses too."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest

from kvmlab.doctor import judge
from kvmlab.doctor.recording import HostRecording, record
from kvmlab.errors import UsageError
from kvmlab.facts.interface_users import all_users
from kvmlab.hosts import Reply
from kvmlab.hosts.anonymizer import Anonymizer
from tests.facts.host_builder import Layout, described, recorded_host

HOSTS = Path(__file__).resolve().parents[1] / "data" / "hosts"
SYMPTOMS = (
    "=== kernel_log\n[ 9.1] ixgbe 0000:02:00.0 ens1f0: 4 Spoofed packets detected\n=== exit 0\n"
    "=== qemu_log\n\n=== exit 0\n=== daemon\n\n=== exit 0\n=== bridge_netfilter\n\n=== exit 0\n"
    "=== offloads\n\n=== exit 0\n=== end\n"
)


def recording_of(name: str) -> HostRecording:
    """Record a layout, with symptoms in place of those that a real host would have."""
    layout = Layout(described(HOSTS / f"{name}.yaml"))
    names = [link.name for link in layout.facts.links if not link.kind and not link.loopback]
    host = recorded_host(layout.description)
    symptoms = Reply(
        ("sh", "-s", "--", *names),
        stdout=SYMPTOMS,
        root=True,
        input_line="# Print what the doctor reads beyond an inspection: the kernel's and QEMU's "
        "complaints, limits,",
    )
    host.runner._replies += (symptoms,)  # type: ignore[attr-defined]
    with host:
        recording = record(host)
    domains = tuple(layout.description.get("vms", ()))
    return replace(recording, domains=domains, libvirt=layout.facts.libvirt)


@pytest.mark.parametrize("name", ["bridge-uplink", "storage-connection", "team-vlan-bridge"])
def test_a_recording_is_replayed(tmp_path: Path, name: str) -> None:
    recording = recording_of(name)
    recording.save(tmp_path / "host.json")
    loaded = HostRecording.load(tmp_path / "host.json")
    assert loaded == recording
    facts = Layout(described(HOSTS / f"{name}.yaml")).facts
    again = replace(loaded.facts(), cable=facts.cable, cables=facts.cables)
    assert again == facts
    assert {item.rule: item.verdict for item in judge(loaded.readings()).findings}


@pytest.mark.parametrize("name", ["bridge-uplink", "storage-connection", "team-vlan-bridge"])
def test_an_anonymous_recording_says_the_same(tmp_path: Path, name: str) -> None:
    recording = recording_of(name)
    other = recording.anonymized()
    other.save(tmp_path / "host.json")
    text = (tmp_path / "host.json").read_text()
    facts, again = recording.facts(), other.facts()
    for link in facts.links:
        for address in link.addresses:
            if not link.loopback:
                assert address.partition("/")[0] not in text
        if not link.loopback and not link.mac.startswith("02:00:00:00"):
            assert link.mac not in text
    for domain in recording.libvirt.domains:
        assert domain.name not in text
    assert (again.management, again.carriers) == (facts.management, facts.carriers)
    shape = [
        [[part.relation.split(" of VM")[0] for u in users.users for part in u.walk()]
         for users in all_users(one)]
        for one in (facts, again)
    ]  # fmt: skip
    assert shape[0] == shape[1]
    verdicts = [
        {item.rule: item.verdict for item in judge(one.readings()).findings}
        for one in (recording, other)
    ]
    assert verdicts[0] == verdicts[1]


def test_prefixes_are_kept() -> None:
    anonymizer = Anonymizer(key=b"k")
    text = "192.0.2.5/24 192.0.2.200 10.1.0.0/16 10.1.200.3 2001:db8:1::5/64 2001:db8:1::9 6.12.41"
    words = anonymizer.text(text).split()
    assert ip_address(words[1]) in ip_interface(words[0]).network
    assert str(ip_interface(words[2]).network.network_address) != "10.1.0.0"
    assert ip_address(words[3]) in ip_interface(words[2]).network
    assert ip_address(words[5]) in ip_interface(words[4]).network
    assert words[6] == "6.12.41"
    assert anonymizer.text(text).split() == words


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "0.0.0.0", "::1", "0000:0b:00.0", "00:00:00:00:00:00", "12:34:56", "1.2.3"],
)
def test_what_means_something_to_all_stays(text: str) -> None:
    assert Anonymizer().text(text) == text


def test_connections_are_replaced_as_addresses_are() -> None:
    anonymizer = Anonymizer(key=b"k")
    other = anonymizer.text("10.30.0.5")
    hexed = anonymizer.connections("05001E0A 2 0801 09001E0A:02BC").split()[0]
    assert bytes.fromhex(hexed)[::-1] == ip_address(other).packed


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"host": 1}'])
def test_a_file_that_is_no_recording(tmp_path: Path, text: str) -> None:
    path = tmp_path / "host.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="no recording of a host"):
        HostRecording.load(path)
