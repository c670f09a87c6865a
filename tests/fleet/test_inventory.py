"""Inventories: kvmlab's own YAML, Ansible's INI, YAML and JSON, and everything that is none."""

from __future__ import annotations

import json
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmlab.errors import UsageError
from kvmlab.fleet import FleetHost, cuts_by_host, read_inventory, select

OWN = """\
defaults:
  vm: web-test
  parameters: {TRIALS: 3, APPLY: true}
hosts:
  kvm1:
    uri: qemu+ssh://root@kvm1/system
    cable: eth3,192.0.2.10/24,192.0.2.1/24,netns:peer/eth4
    groups: [rack-a]
  kvm2:
    uri: qemu+ssh://root@kvm2:2222/system
    vm: other
    parameters: {TRIALS: 5}
"""
INI = """\
# a comment
bastion ansible_connection=local

[rack_a]
kvm[01:02] ansible_user=root
kvm03 ansible_host=192.0.2.3 ansible_port=2222 kvmlab_vm='web test'

[rack_a:vars]
kvmlab_cable=eth3,192.0.2.10/24,192.0.2.1/24
kvmlab_parameters={"TRIALS": 4}

[hypervisors:children]
rack_a
"""


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_own_yaml_merges_defaults(tmp_path: Path) -> None:
    first, second = read_inventory(written(tmp_path / "hosts.yaml", OWN))
    assert first == FleetHost(
        "kvm1",
        "qemu+ssh://root@kvm1/system",
        "web-test",
        "eth3,192.0.2.10/24,192.0.2.1/24,netns:peer/eth4",
        {"TRIALS": "3", "APPLY": "yes"},
        ("rack-a",),
    )
    assert (second.vm, second.parameters["TRIALS"], second.parameters["APPLY"]) == (
        "other",
        "5",
        "yes",
    )


def test_ansible_ini(tmp_path: Path) -> None:
    hosts = {host.name: host for host in read_inventory(written(tmp_path / "hosts", INI))}
    assert list(hosts) == ["bastion", "kvm01", "kvm02", "kvm03"]
    assert hosts["bastion"].uri == "qemu:///system"
    assert hosts["kvm02"].uri == "qemu+ssh://root@kvm02/system"
    assert hosts["kvm03"].uri == "qemu+ssh://192.0.2.3:2222/system"
    assert (hosts["kvm03"].vm, hosts["kvm03"].parameters) == ("web test", {"TRIALS": "4"})
    assert hosts["kvm03"].cable == "eth3,192.0.2.10/24,192.0.2.1/24"
    assert hosts["kvm03"].groups == ("hypervisors", "rack_a")


def test_ansible_yaml_and_list_agree(tmp_path: Path) -> None:
    text = """\
all:
  vars: {ansible_user: root}
  children:
    racks:
      children:
        rack_a:
          hosts:
            kvm1: {ansible_host: 192.0.2.1}
            kvm2:
          vars: {kvmlab_vm: web}
"""
    listed = {
        "_meta": {"hostvars": {"kvm1": {"ansible_host": "192.0.2.1"}, "kvm2": {}}},
        "all": {"children": ["racks"], "vars": {"ansible_user": "root"}},
        "racks": {"children": ["rack_a"]},
        "rack_a": {"hosts": ["kvm1", "kvm2"], "vars": {"kvmlab_vm": "web"}},
    }
    from_yaml = read_inventory(written(tmp_path / "hosts.yml", text))
    from_list = read_inventory(written(tmp_path / "hosts.json", json.dumps(listed)))
    assert from_yaml == from_list
    assert from_yaml[0].uri == "qemu+ssh://root@192.0.2.1/system"
    assert from_yaml[1].groups == ("racks", "rack_a")


def test_limit_by_host_and_group(tmp_path: Path) -> None:
    hosts = read_inventory(written(tmp_path / "hosts", INI))
    assert [host.name for host in select(hosts, ["bastion", "hypervisors"])] == [
        "bastion",
        "kvm01",
        "kvm02",
        "kvm03",
    ]
    assert select(hosts, []) == hosts
    with pytest.raises(UsageError, match="no host or group kvm9"):
        select(hosts, ["kvm9"])


def test_what_may_be_cut_is_named_for_each_host(tmp_path: Path) -> None:
    hosts = read_inventory(written(tmp_path / "hosts.yaml", OWN))
    texts = ("kvm1:web1", "kvm1:2001:db8::7/64", "kvm2:eno2")
    assert cuts_by_host(texts, hosts) == {"kvm1": ("web1", "2001:db8::7/64"), "kvm2": ("eno2",)}
    for text in ("web1", "kvm1:", "kvm9:web1", ":web1", "*:web1"):
        with pytest.raises(UsageError, match="does not name a host of this rollout"):
            cuts_by_host((text,), hosts)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("hosts.yaml", "hosts: {}\n", "names no host"),
        ("hosts.yaml", "hosts: {kvm1: {}}\n", "kvm1 has no uri"),
        ("hosts.yaml", "hosts: {kvm1: {uri: 'ftp://x'}}\n", "none of the kinds of host"),
        ("hosts.yaml", "hosts: {kvm1: {uri: embedded, colour: red}}\n", "unknown key colour"),
        ("hosts.yaml", "hosts: {'../x': {uri: embedded}}\n", "cannot be the name of a host"),
        ("hosts.yaml", "hosts: {kvm1: {uri: embedded, cable: x}}\n", "cable"),
        ("hosts.yaml", "hosts: {a: {uri: 'qemu:///system'}, b: {uri: 'qemu:///system'}}\n", "two"),
        ("hosts.yaml", "- a\n", "not a mapping"),
        ("hosts.yaml", "a: [\n", "not YAML"),
        ("hosts.json", "{", "not JSON"),
        ("hosts", "kvm1 oops\n", "write NAME=VALUE"),
        ("hosts", "[a:b]\n", "no section"),
        ("hosts", "kvm[9:1]\n", "empty"),
        ("hosts", "kvm1 ansible_host='{{ secret }}'\n", "only Ansible reads it"),
    ],
)
def test_an_unusable_inventory_is_one_sentence(
    tmp_path: Path, name: str, text: str, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        read_inventory(written(tmp_path / name, text))


@settings(max_examples=300)
@given(st.text(alphabet=string.printable, max_size=200), st.sampled_from(["h", "h.yaml", "h.json"]))
def test_any_text_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, text: str, name: str
) -> None:
    path = tmp_path_factory.mktemp("inventory") / name
    try:
        hosts = read_inventory(written(path, text))
    except UsageError:
        return
    assert all(host.uri for host in hosts)
