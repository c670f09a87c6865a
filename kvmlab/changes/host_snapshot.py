"""A snapshot of what a person changes by hand on an embedded host, and the way back to it.

Steps know their undo; hands do not. Before somebody works in a shell on the host, `take` reads
interfaces, ports, offloads, queueing disciplines, VFs, modules, libvirt's networks, the devices and
the definition of the test VM. `put_back` compares and undoes what differs, whoever made it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from lxml import etree

from kvmlab.changes.lab_lock import locked
from kvmlab.changes.ports import put_back
from kvmlab.domain.description import Domain
from kvmlab.errors import KvmlabError, OutputError, RevertFailed, UsageError
from kvmlab.facts import HostFacts, Link, NetFunction, inspect
from kvmlab.hosts import HostKind, libvirt_client, parse_output, run_script
from kvmlab.stored_files import parse_json

if TYPE_CHECKING:
    from kvmlab.domain import TestVM
    from kvmlab.hosts import Host

_READ_SEC: Final = 60
_WRITE_SEC: Final = 60
#: Modules that the course loads and unloads.
_MODULES: Final = ("vhost_net",)
_FEATURE: Final = re.compile(r"^\t?([a-z][\w-]*): (on|off)$", re.MULTILINE)


@dataclass(frozen=True)
class HostSnapshot:
    """Settings of a host and of its test VM at one moment."""

    links: tuple[Link, ...]
    ports: tuple[NetFunction, ...]
    #: Offloads that can be switched: interface (``netns/name``) -> feature -> on or off.
    features: dict[str, dict[str, str]]
    #: Root queueing disciplines that somebody made: interface -> kind.
    qdiscs: dict[str, str]
    #: Files of /sys and /proc -> their content.
    settings: dict[str, str]
    modules: tuple[str, ...]
    networks: tuple[str, ...]
    #: Alias of each interface and assigned device of the running VM -> its XML.
    devices: dict[str, str]
    definition: str

    @classmethod
    def take(cls, host: Host, vm: TestVM, facts: HostFacts | None = None) -> Self:
        """Read the host; ``facts`` are those of an inspection just made, if there was one.

        Raises:
            UsageError: the host is no embedded one: nobody may work by hand on a host of others.
        """
        if host.kind is not HostKind.EMBEDDED:
            raise UsageError(
                f"{host.label} is no embedded host, and what is done there by hand could not be "
                "put back.",
                todo='Do the tasks on the embedded host: HOST = "embedded".',
            )
        facts = facts or inspect(host, prove_kvm=False)
        done = run_script(
            host.runner, "kvmlab.changes", "read_by_hand.sh", timeout_sec=_READ_SEC, root=True
        )
        output = parse_output(done.stdout)
        return cls(
            links=facts.links,
            ports=facts.ports,
            features=_parse_features(output.text("interfaces")),
            qdiscs=_parse_qdiscs(output.text("interfaces")),
            settings=_parse_settings(output.text("settings")),
            modules=tuple(sorted(set(_MODULES) & set(output.text("modules").split()))),
            networks=_networks(host),
            devices=_devices(vm.xml()),
            definition=vm.xml(inactive=True, secrets=True) if vm.is_persistent else "",
        )

    def put_back(self, host: Host, vm: TestVM) -> tuple[str, ...]:
        """Undo what differs from the snapshot; return what could not be undone, as sentences.

        Raises:
            RevertFailed: a command failed; the others were run.
        """
        failures: list[str] = []
        with locked(host, purpose="putting back what was done by hand"):
            for alias in _devices(vm.xml()).keys() - self.devices.keys():
                try:
                    vm.detach(alias)
                except KvmlabError as error:
                    failures.append(error.message)
            now = type(self).take(host, vm)
            if now.definition != self.definition and self.definition:
                vm.redefine(self.definition)
            functions = [*self._networks_and_vfs(now), *self._functions(now)]
            if functions:
                failures += _run(host, functions)
                now = type(self).take(host, vm)
            failures += _run(host, [*self._links_away(now), *self._values(now)])
        if failures:
            raise RevertFailed(
                f"Not everything on {host.label} could be put back.",
                todo="Shut the kernel down, or `kvmlab host down`: the next host is a new one.",
                evidence="\n".join(failures),
            )
        missing = self.devices.keys() - now.devices.keys()
        return tuple(f"The device {alias} of the VM is gone." for alias in sorted(missing))

    def same_as(self, other: HostSnapshot) -> bool:
        """Return whether two snapshots agree in everything but what the kernel numbers anew."""
        return not [*self.differences(other)]

    def differences(self, now: HostSnapshot) -> Iterator[str]:
        """Yield a line for each part that differs, for messages and tests."""
        ours, theirs = self._comparable(), now._comparable()
        for name, value in ours.items():
            if theirs.get(name) != value:
                yield f"{name}: {value} before, {theirs.get(name)} now"
        yield from (f"{name}: new, {theirs[name]}" for name in theirs.keys() - ours.keys())

    def _comparable(self) -> dict[str, object]:
        values: dict[str, object] = {f"{_place(link)}": _settings(link) for link in self.links}
        for port in self.ports:
            values[port.address] = (
                port.driver,
                port.driver_override,
                port.names,
                port.netns,
                port.sriov_numvfs,
                port.sriov_drivers_autoprobe,
            )
        for place, features in self.features.items():
            values |= {f"{feature} of {place}": value for feature, value in features.items()}
        values |= {f"qdisc of {name}": value for name, value in self.qdiscs.items()}
        values |= self.settings
        values |= {f"device {alias}": "present" for alias in self.devices}
        values |= {"modules": self.modules, "networks": self.networks}
        values |= {"definition": self.definition}
        return values

    def _networks_and_vfs(self, now: HostSnapshot) -> Iterator[str]:
        for name in sorted(set(now.networks) - set(self.networks)):
            yield f"virsh net-destroy {shlex.quote(name)}"
            yield f"virsh net-undefine {shlex.quote(name)} 2>/dev/null || true"
        before = {port.address: port for port in self.ports}
        for port in now.ports:
            was = before.get(port.address)
            if was is None or port.sriov_numvfs is None:
                continue
            folder = f"/sys/bus/pci/devices/{port.address}"
            if port.sriov_numvfs != was.sriov_numvfs:
                yield f"echo 0 >{folder}/sriov_numvfs"
            if port.sriov_drivers_autoprobe != was.sriov_drivers_autoprobe:
                autoprobe = int(bool(was.sriov_drivers_autoprobe))
                yield f"echo {autoprobe} >{folder}/sriov_drivers_autoprobe"
            if port.sriov_numvfs != was.sriov_numvfs and was.sriov_numvfs:
                yield f"echo {was.sriov_numvfs} >{folder}/sriov_numvfs"

    def _functions(self, now: HostSnapshot) -> Iterator[str]:
        current = {port.address: port for port in now.ports}
        for port in self.ports:
            after = current.get(port.address)
            if after is None or (port.driver, port.names, port.netns) == (
                after.driver,
                after.names,
                after.netns,
            ):
                continue
            links = [link for link in self.links if link.name in port.names]
            links = [link for link in links if link.netns == port.netns]
            if port.driver is None or not links:
                continue
            command = put_back(port, *links)
            words = command.argv[command.argv.index("--") + 1 :]
            yield f"set -- {shlex.join(words)}\n{command.input_text}"

    def _links_away(self, now: HostSnapshot) -> Iterator[str]:
        before = {_place(link) for link in self.links}
        for link in now.links:
            if link.kind and _place(link) not in before and not link.name.startswith("vnet"):
                yield f"{_ip(link)} link delete dev {shlex.quote(link.name)} || true"

    def _values(self, now: HostSnapshot) -> Iterator[str]:
        current = {_place(link): link for link in now.links}
        for link in self.links:
            after = current.get(_place(link))
            if after is not None and _settings(after) != _settings(link):
                yield from _link_commands(link, after)
        for place, features in self.features.items():
            changed = now.features.get(place, {})
            for name, value in features.items():
                if changed.get(name, value) != value:
                    yield f"{_in(place)} ethtool -K {_name(place)} {name} {value}"
        for place in sorted(now.qdiscs.keys() - self.qdiscs.keys()):
            yield f"{_in(place)} tc qdisc delete dev {_name(place)} root"
        for path, value in self.settings.items():
            if now.settings.get(path, value) != value:
                yield f"echo {shlex.quote(value)} >{path}"
        for module in _MODULES:
            if (module in self.modules) and module not in now.modules:
                yield f"modprobe {module}"
            elif module in now.modules and module not in self.modules:
                yield f"modprobe -r {module} || true"


def _run(host: Host, scripts: list[str]) -> list[str]:
    """Run each script in a shell of its own; return what those that failed printed."""
    failures: list[str] = []
    plain = [script for script in scripts if "\n" not in script]
    alone = [script for script in scripts if "\n" in script]
    if plain:
        text = "".join(f"( {line} ) || echo {shlex.quote('failed: ' + line)}\n" for line in plain)
        done = host.run(("sh",), timeout_sec=_WRITE_SEC, input_text=text, check=False, root=True)
        failures += [line for line in done.stdout.splitlines() if line.startswith("failed: ")]
        failures += done.stderr.splitlines() if failures else []
    for script in alone:
        done = host.run(("sh",), timeout_sec=_WRITE_SEC, input_text=script, check=False, root=True)
        if done.returncode != 0:
            failures.append(done.stderr.strip())
    return failures


def _link_commands(link: Link, after: Link) -> Iterator[str]:
    ip, name = _ip(link), shlex.quote(link.name)
    if after.master != link.master:
        master = f"master {link.master}" if link.master else "nomaster"
        yield f"{ip} link set dev {name} {master}"
    if after.mac != link.mac:
        yield f"{ip} link set dev {name} address {link.mac}"
    if after.mtu != link.mtu:
        yield f"{ip} link set dev {name} mtu {link.mtu}"
    if after.up != link.up:
        yield f"{ip} link set dev {name} {'up' if link.up else 'down'}"
    for was, now in zip(link.vfs, after.vfs, strict=False):
        if was != now:
            switches = {"spoofchk": was.spoof_check, "trust": was.trusted}
            words = [f"mac {was.mac}", f"vlan {was.vlan or 0}"]
            words += [f"{name} {'on' if on else 'off'}" for name, on in switches.items()]
            yield from (f"{ip} link set dev {name} vf {was.index} {word}" for word in words)
    if after.alias != link.alias:
        yield f"{ip} link set dev {name} alias {shlex.quote(link.alias or '')}"
    ours, theirs = _own_addresses(link), _own_addresses(after)
    for address in sorted(theirs - ours):
        yield f"{ip} address delete {address} dev {name}"
    for address in sorted(ours if after.up != link.up else ours - theirs):
        yield f"{ip} address replace {address} dev {name}"


def _own_addresses(link: Link) -> set[str]:
    # A link-local address comes by itself when the interface goes up.
    return {address for address in link.addresses if not address.startswith("fe80")}


def _settings(link: Link) -> tuple[object, ...]:
    addresses = tuple(sorted(_own_addresses(link)))
    return (link.up, link.mtu, link.mac, link.master, link.alias, addresses, link.vfs)


def _place(link: Link) -> str:
    return f"{link.netns or ''}/{link.name}"


def _ip(link: Link) -> str:
    return f"ip -n {shlex.quote(link.netns)}" if link.netns else "ip"


def _in(place: str) -> str:
    netns = place.partition("/")[0]
    return f"ip netns exec {shlex.quote(netns)}" if netns else ""


def _name(place: str) -> str:
    return shlex.quote(place.partition("/")[2])


def _parse_features(text: str) -> dict[str, dict[str, str]]:
    r"""Parse ``ethtool -k`` of several interfaces; fixed features are left out.

    >>> _parse_features("Features for /p2p1:\nrx-checksumming: on\ntx-gso-list: off [fixed]\n")
    {'/p2p1': {'rx-checksumming': 'on'}}
    """
    blocks = re.split(r"^Features for (\S*/\S+):$", text, flags=re.MULTILINE)[1:]
    pairs = zip(blocks[::2], blocks[1::2], strict=True)
    return {place: dict(_FEATURE.findall(block)) for place, block in pairs}


def _parse_qdiscs(text: str) -> dict[str, str]:
    """Parse lines of a namespace and its ``tc -j qdisc show``, keeping root ones with a handle.

    Raises:
        OutputError: a line has another shape.
    """
    qdiscs = {}
    for line in text.splitlines():
        if not line.startswith("qdiscs\t"):
            continue
        try:
            _, netns, document = line.split("\t", 2)
            for entry in parse_json(document or "[]"):
                if entry.get("root") and entry.get("handle") != "0:":
                    qdiscs[f"{netns}/{entry['dev']}"] = str(entry["kind"])
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise OutputError("The host's qdiscs cannot be read.", evidence=line[:400]) from error
    return qdiscs


def _networks(host: Host) -> tuple[str, ...]:
    """Return the names of libvirt's networks, active or not."""
    networks = libvirt_client.call(host.libvirt.listAllNetworks, 0, host=host.label)
    return tuple(sorted(network.name() for network in networks))


def _parse_settings(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _devices(xml: str) -> dict[str, str]:
    """Return the XML of the VM's interfaces and assigned devices, by alias."""
    devices = {}
    node = Domain.parse(xml).node
    for device in (*node.iterfind("devices/interface"), *node.iterfind("devices/hostdev")):
        alias = device.find("alias")
        if alias is not None:
            devices[str(alias.get("name"))] = etree.tostring(device, encoding="unicode")
    return devices
