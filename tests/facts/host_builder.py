"""Recorded hosts made from short descriptions: what the tests of layouts are built of.

A description is a mapping, in YAML in `tests/data/hosts` or written out in a test::

    functions:
      "02:00.0": {names: [ens1f0], driver: i40e, group: 20, totalvfs: 64}
    links:
      ens1f0: {}
      ens1f0.100: {kind: vlan, over: ens1f0, id: 100, master: br100}
      br100: {kind: bridge}
      vnet0: {kind: tap, master: br100}
    vms:
      - "<domain type='kvm'>…</domain>"

A host is managed through eno1 (01:00.0) unless its links or functions describe another management
interface. From a description come the texts that the reading script of a host prints; everything
above that is the product's own. `functions` take the keys of :func:`_function`, `links` those of
:func:`_link`; `host` holds what is set once for a host, see :data:`DEFAULTS`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import yaml

from kvmlab.doctor import Diagnosis, judge
from kvmlab.doctor.findings_input import FindingsInput
from kvmlab.doctor.guest import Guest
from kvmlab.doctor.local_environment import LocalEnvironment
from kvmlab.doctor.running_vms import RunningVm, parse_vm
from kvmlab.doctor.symptoms import (
    Daemon,
    Symptoms,
    parse_netfilter,
    parse_offloads,
    parse_tuning,
    parse_vulnerabilities,
)
from kvmlab.facts import HostFacts, inspect
from kvmlab.facts.libvirt import parse_domain_use
from kvmlab.facts.machine import MODULES, MODULES_PATTERN
from kvmlab.hosts import Cable, Host, HostKind, RecordedRunner, Reply

Description = Mapping[str, Any]

_READ: Final = (
    "# Print everything that an inspection reads from a host, in one go and without changing "
    "anything."
)
_BOOT: Final = "# Boot a real guest with KVM and stop it as soon as it has shown that it runs."
_CPUS: Final = {
    "intel": "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel Xeon\n"
    "flags\t\t: fpu vmx ssse3",
    "amd": "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC\n"
    "flags\t\t: fpu svm ssse3",
    "guest": "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel Xeon\n"
    "flags\t\t: fpu vmx ssse3 hypervisor",
    "arm": "processor\t: 0\nFeatures\t: fp asimd crc32 atomics\nCPU implementer\t: 0x41\n"
    "CPU architecture: 8\nCPU part\t: 0xd0c",
}
#: What a host has unless its description says otherwise.
DEFAULTS: Final[Mapping[str, Any]] = {
    "name": "host1",
    "kernel": "6.12.41-test",
    "arch": "x86_64",
    "cpu": "intel",
    "cmdline": "BOOT_IMAGE=/vmlinuz ro intel_iommu=on iommu=pt",
    "units": ["dmar0"],
    "ssh": "192.0.2.200 50000 192.0.2.5 22",
    "modules": [
        "kvm", "kvm_intel", "vhost_net", "tun", "macvtap", "bridge", "8021q", "vfio_pci", "igbvf",
    ],
    "nodes": ["/dev/kvm", "/dev/vhost-net", "/dev/net/tun", "/dev/vfio/vfio"],
    "boot": "kernel: [    0.0] Linux version 6.12 (test)",
    "versions": "iproute2 ip utility, iproute2-6.1.0, libbpf 1.1.0\npage_bytes 4096",
    "files": {},
    "groups": [],
    "vfio_holders": "complete",
    "wireguard": "",
    "connections": "",
    "wireless": [],
    "ip_code": 0,
}  # fmt: skip
_ENVIRONMENT: Final = LocalEnvironment(
    "/kernels/python3", "python", True, "/plotly.min.js", "8.1", "3.0", True
)
_CALM: Final = Symptoms(daemon=Daemon("libvirtd", 8 << 20, may_raise=True), bridge_netfilter=False)
_PCI: Final = "/sys/bus/pci/devices"
_LOOPBACK: Final = {
    "ifindex": 1, "ifname": "lo", "flags": ["LOOPBACK", "UP", "LOWER_UP"], "mtu": 65536,
    "operstate": "UNKNOWN", "link_type": "loopback", "address": "00:00:00:00:00:00",
    "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8}],
}  # fmt: skip


def described(path: Path) -> Description:
    """Return the description in a file of `tests/data/hosts`."""
    loaded: Description = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded


def _complete(description: Description) -> Description:
    """Return ``description`` with a management port where it describes none."""
    functions, links = description.get("functions", {}), description.get("links", {})
    if "01:00.0" in functions or any(values.get("management") for values in links.values()):
        return description
    port = {"names": ["eno1"], "driver": "igb", "group": 1}
    return {
        **description,
        "functions": {"01:00.0": port, **functions},
        "links": {"eno1": {"management": True}, **links},
    }


@dataclass(frozen=True)
class Layout:
    """A host made from a description: its facts, its VMs, and what the doctor says of it."""

    description: Description

    @cached_property
    def facts(self) -> HostFacts:
        """The inspection of the host."""
        with recorded_host(self.description) as host:
            facts = inspect(host)
        domains = tuple(parse_domain_use(text) for text in self.description.get("vms", ()))
        port = self.description.get("cable")
        cable = Cable(port, "198.51.100.10/24", "198.51.100.1/24") if port else None
        return replace(
            facts,
            libvirt=replace(facts.libvirt, domains=domains),
            cable=cable,
            cables=(cable,) if cable else (),
        )

    @cached_property
    def vms(self) -> tuple[RunningVm, ...]:
        """The running VMs, as the doctor reads them."""
        return tuple(parse_vm(text) for text in self.description.get("vms", ()))

    def readings(self, **values: Any) -> FindingsInput:
        """Return all that the doctor judges by; ``values`` replace parts of it."""
        parts = {"symptoms": _CALM, "environment": _ENVIRONMENT, "vms": self.vms, **values}
        log = tuple(self.description.get("kernel_log", ()))
        if log:
            parts["symptoms"] = replace(parts["symptoms"], kernel_log=log)
        read = self.description.get("symptoms", {})
        if read:
            switch, policy = parse_netfilter(read.get("bridge_netfilter", ""))
            parts["symptoms"] = replace(
                parts["symptoms"],
                bridge_netfilter=switch or False,
                forward_policy=policy,
                offloads=parse_offloads(read.get("offloads", "")),
                tuning=parse_tuning(read.get("drops", ""), read.get("tuning", "")),
                vulnerabilities=parse_vulnerabilities(read.get("vulnerabilities", "")),
            )
        inside = self.description.get("guest")
        if inside:
            parts.setdefault("guest", Guest(**inside))
        return FindingsInput(self.facts, **parts)

    def diagnosis(self, **values: Any) -> Diagnosis:
        """Return what the doctor says."""
        return judge(self.readings(**values))


def recorded_host(description: Description) -> Host:
    """Return a host that answers as ``description`` says; its libvirt is libvirt's test driver."""
    host = {**DEFAULTS, **description.get("host", {})}
    replies = [
        Reply(
            ("sh", "-s", "--", MODULES_PATTERN, *MODULES),
            stdout=answer(description),
            input_line=_READ,
        )
    ]
    replies += [
        Reply(
            ("sh", "-s", "--", emulator, "15"),
            root=root,
            input_line=_BOOT,
            stdout=host["boot"] + "\n",
        )
        for root in (False, True)
        for emulator in ("/usr/bin/qemu-system-x86_64", "", "/usr/bin/test-hv")
    ]
    return Host(
        spec="recorded",
        kind=HostKind.RECORDED,
        label=host["name"],
        runner=RecordedRunner(replies, name=host["name"]),
        libvirt_uri="test:///default",
    )


def answer(description: Description) -> str:
    """Return what the reading script of an inspection prints on such a host."""
    description = _complete(description)
    host = {**DEFAULTS, **description.get("host", {})}
    functions = _functions(description.get("functions", {}))
    links = _links(description.get("links", {}), description.get("functions", {}))
    here = [record for record in links if record.get("netns") is None]
    namespaces = sorted({record["netns"] for record in links if record.get("netns")})
    modules = "".join(f"{name} 4096 1 - Live 0x0\n" for name in host["modules"])
    groups = [path for function in functions for path in function.groups] + host["groups"]
    json_text = json.dumps([_LOOPBACK, *map(_without_netns, here)])
    routes = _routes(description)
    sections = {
        "identity": f"{host['name']} {host['kernel']} {host['arch']}\n{host['ssh']}",
        "cpu": _CPUS.get(host["cpu"], host["cpu"]),
        "nodes": "".join(f"{node} yes\n" for node in host["nodes"]),
        "installed_modules": "",
        "present_modules": "",
        "files": "".join(_file_lines(host, functions)) + _file("/proc/modules", modules),
        "links": "".join(line for function in functions for line in function.links),
        "iommu": "".join(f"/sys/class/iommu/{unit}\n" for unit in host["units"]),
        "groups": "".join(f"{path}\n" for path in groups),
        "names": "".join(line for function in functions for line in function.names),
        "virtio": "".join(line for function in functions for line in function.virtio),
        "wireless": "".join(f"/sys/class/net/{name}/wireless\n" for name in host["wireless"]),
        "descriptions": "",
        "addresses": host.get("ip_text", json_text),
        "default_routes": json.dumps([r for r in routes if r["dst"] == "default"]),
        "default_routes6": "[]",
        "route_to_peer": json.dumps(_route_to_peer(description)),
        "routes": json.dumps(routes),
        "routes6": "[]",
        "wireguard": host["wireguard"],
        "vfio_holders": host["vfio_holders"],
        "versions": host["versions"],
        "connections": host["connections"],
        "namespaces": "".join(f"/run/netns/{name}\n" for name in namespaces),
    }
    if host["ip_code"]:
        sections |= dict.fromkeys(("addresses", "default_routes", "routes"), "")
    for name in namespaces:
        inside = [_without_netns(record) for record in links if record.get("netns") == name]
        sections[f"addresses {name}"] = json.dumps(inside)
        sections[f"speeds {name}"] = ""
    codes = dict.fromkeys(("addresses", "default_routes", "routes"), host["ip_code"])
    return (
        "".join(
            f"=== {name}\n{text}\n=== exit {codes.get(name, 0)}\n"
            for name, text in sections.items()
        )
        + "=== end\n"
    )


@dataclass(frozen=True)
class _Lines:
    """Return the content of /sys for one PCI function."""

    files: tuple[str, ...]
    links: tuple[str, ...]
    names: tuple[str, ...]
    virtio: tuple[str, ...]
    groups: tuple[str, ...]


def full_address(text: str) -> str:
    """Return an address with its domain: "0000:01:00.0" for "01:00.0"."""
    return text if text.count(":") == 2 else f"0000:{text}"


def _functions(described: Mapping[str, Mapping[str, Any]]) -> list[_Lines]:
    return [_function(full_address(address), **values) for address, values in described.items()]


def _function(
    address: str,
    *,
    names: Iterable[str] = (),
    driver: str | None = "e1000e",
    pci_class: str = "0x020000",
    vendor: str = "0x8086",
    device: str = "0x1572",
    group: int | None = None,
    totalvfs: int | None = None,
    vfs: Iterable[str] | int = (),
    vf_of: str | None = None,
    reset: str | None = "flr bus",
    numa: int = 0,
    override: str | None = None,
    virtio: str = "",
) -> _Lines:
    """Return the lines of one function.

    Args:
        address: with its domain.
        names: interfaces that /sys lists below it.
        driver: None for none.
        pci_class: six digits, as in /sys.
        vendor: vendor id.
        device: device id.
        group: number of its IOMMU group, None for none.
        totalvfs: how many VFs it can have; None without SR-IOV.
        vfs: addresses of its VFs.
        vf_of: address of its PF.
        reset: methods; None for a kernel that lists none.
        numa: NUMA node.
        override: driver_override.
        virtio: name of the virtio device between function and interfaces.
    """
    folder = f"{_PCI}/{address}"
    children = [full_address(vf) for vf in vfs] if not isinstance(vfs, int) else []
    files = {"class": pci_class}
    if pci_class.startswith("0x02"):
        files |= {
            "vendor": vendor,
            "device": device,
            "numa_node": str(numa),
            "driver_override": override or "(null)",
        }
        if totalvfs is not None:
            count = vfs if isinstance(vfs, int) else len(children)
            files |= {
                "sriov_totalvfs": str(totalvfs),
                "sriov_numvfs": str(count),
                "sriov_offset": "16",
                "sriov_stride": "1",
            }
    if pci_class.startswith("0x02"):
        files |= {"reset": "present"} | ({} if reset is None else {"reset_method": reset})
    lines = [_file(f"{folder}/{name}", value) for name, value in files.items()]
    targets = {"driver": f"../../../../bus/pci/drivers/{driver}"} if driver else {}
    targets |= {"physfn": f"../{full_address(vf_of)}"} if vf_of else {}
    targets |= {f"virtfn{n}": f"../{vf}" for n, vf in enumerate(children)}
    links = [_file(f"{folder}/{name}", target) for name, target in targets.items()]
    between = f"{virtio}/" if virtio else ""
    return _Lines(
        files=tuple(lines),
        links=tuple(links),
        names=tuple(f"{folder}/{between}net/{name}\n" for name in names),
        virtio=(f"{folder}/{virtio}\n",) if virtio else (),
        groups=() if group is None else (f"/sys/kernel/iommu_groups/{group}/devices/{address}",),
    )


def _links(
    described: Mapping[str, Mapping[str, Any]], functions: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    device_of = {
        name: full_address(address)
        for address, values in functions.items()
        for name in values.get("names", ())
    }
    records = [
        _link(index, name.partition("@")[0], **{"device": device_of.get(name), **values})
        for index, (name, values) in enumerate(described.items(), start=2)
    ]
    index_of = {record["ifname"]: record["ifindex"] for record in records if not record["netns"]}
    for record in records:
        if record["netns"] and record.get("link") in index_of:
            record["link_index"] = index_of[record.pop("link")]
    return records


def _link(
    index: int,
    name: str,
    device: str | None = None,
    *,
    kind: str = "",
    id: int | None = None,
    mode: str = "",
    mac: str = "",
    up: bool = True,
    carrier: bool = True,
    mtu: int = 1500,
    management: bool = False,
    addresses: Iterable[str] = (),
    bus: str = "",
    netns: str | None = None,
    link_type: str = "ether",
    altnames: Iterable[str] = (),
    portname: str = "",
    switch: str = "",
    remote: str = "",
    local: str = "",
    xdp: bool | str = False,
    vfs: int = 0,
    over: str = "",
    master: str = "",
) -> dict[str, Any]:
    """Return one record of ``ip -j -d address show``.

    Args:
        index: number of the interface.
        name: its name.
        device: PCI address behind it.
        kind: the kernel's; "tap" and "tun" are both of kind "tun".
        id: VLAN, VXLAN.
        mode: of a macvtap, macvlan, ipvlan or bond.
        mac: left out, one made from the number.
        up: switched on.
        carrier: has a link.
        mtu: in bytes.
        management: it has the address of the ssh connection, 192.0.2.5/24.
        addresses: more addresses.
        bus: "usb", "platform" where there is no PCI function.
        netns: the namespace in which it is.
        link_type: "infiniband", "none", …
        altnames: other names.
        portname: phys_port_name.
        switch: phys_switch_id.
        remote: other end of a tunnel.
        local: own end of a tunnel.
        xdp: a program sits in its receive path; "generic" for one that runs in the kernel.
        vfs: how many VFs the PF reports settings of.
        over: the parent, on which it is stacked; of one in a namespace, also one of the host.
        master: the bridge, bond or team to which it belongs.
    """
    flags = ["BROADCAST", "MULTICAST"] + ["UP"] * up + ["LOWER_UP"] * (up and carrier)
    own = [*(["192.0.2.5/24"] if management else []), *addresses]
    record: dict[str, Any] = {
        "ifindex": index,
        "ifname": name,
        "flags": flags,
        "mtu": mtu,
        "operstate": "UP" if up and carrier else "DOWN",
        "link_type": link_type,
        "address": mac or f"02:00:00:00:{index >> 8:02x}:{index & 255:02x}",
        "addr_info": [
            {
                "family": "inet6" if ":" in address else "inet",
                "local": address.partition("/")[0],
                "prefixlen": int(address.partition("/")[2] or 32),
                "scope": "global",
            }
            for address in own
        ],
        "netns": netns,
    }
    info = {"remote": remote, "local": local, "mode": mode}
    data: dict[str, Any] = {key: value for key, value in info.items() if value}
    if id is not None:
        data["id"] = id
    if kind in ("tap", "tun"):
        data["type"], kind = kind, "tun"
    if kind:
        record["linkinfo"] = {"info_kind": kind, "info_data": data}
    settings = {
        "link": over,
        "master": master,
        "parentdev": device or "",
        "parentbus": "pci" if device else bus,
        "phys_port_name": portname,
        "phys_switch_id": switch,
        "altnames": list(altnames),
        "xdp": {"mode": 2 if xdp == "generic" else 1} if xdp else None,
    }
    record |= {key: value for key, value in settings.items() if value}
    if vfs:
        record["vfinfo_list"] = [_vf(number) for number in range(vfs)]
    return record


def _vf(number: int) -> dict[str, Any]:
    return {
        "vf": number,
        "link_type": "ether",
        "address": f"52:54:00:00:00:{number + 1:02x}",
        "vlan_list": [{}],
        "rate": {"max_tx": 0, "min_tx": 0},
        "spoofchk": True,
        "link_state": "auto",
        "trust": False,
    }


def _without_netns(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "netns"}


def _routes(description: Description) -> list[dict[str, Any]]:
    """Return the routes: those described, and a default route of the management interface."""
    described = description.get("routes")
    if described is None:
        described = {"default": _management(description)}
    return [
        {"dst": destination, "dev": name, "protocol": "static", "flags": []}
        for destination, names in described.items()
        for name in ([names] if isinstance(names, str) else names)
        if name
    ]


def _route_to_peer(description: Description) -> list[dict[str, Any]]:
    name = description.get("route_to_peer", _management(description))
    return [{"dst": "192.0.2.200", "dev": name, "flags": []}] if name else []


def _management(description: Description) -> str:
    links = description.get("links", {})
    return next((name for name, values in links.items() if values.get("management")), "")


def _file_lines(host: Mapping[str, Any], functions: list[_Lines]) -> Iterable[str]:
    for function in functions:
        yield from function.files
    files = {
        "/etc/os-release": 'PRETTY_NAME="Test Linux 1"',
        "/proc/cmdline": host["cmdline"],
        "/proc/meminfo": "MemTotal:       131072000 kB",
        "/sys/devices/system/cpu/online": "0-31",
        "/sys/devices/system/node/online": "0-1",
        **host["files"],
    }
    for path, value in files.items():
        yield _file(path, value)


def _file(path: str, text: str) -> str:
    """Return a file as `tail -v` prints it."""
    return f"==> {path} <==\n{text}\n"
