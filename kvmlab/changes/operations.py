"""Operations: the commands of which an undo may consist, each built from checked values.

A journal stores the name of an operation and its values, never a command line. Whoever reads the
journal builds the command anew, so that a journal cannot make anything else run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_interface
from typing import Final

from kvmlab.changes.steps import Command
from kvmlab.errors import UsageError
from kvmlab.hosts import script_text
from kvmlab.hosts.cable import check_interface_name

_PCI: Final = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-1][0-9a-f]\.[0-7]")
_MAC: Final = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
#: A file of /sys, by its own name: no component that leads elsewhere.
_SYS_PATH: Final = re.compile(r"/sys/(?:[A-Za-z0-9_:.-]+/)*[A-Za-z0-9_:.-]+")
_VALUE: Final = re.compile(r"[A-Za-z0-9_:.-]{0,64}")
_BRIDGE_SYSCTL: Final = re.compile(r"/proc/sys/net/bridge/[a-z0-9-]+")
#: Programs whose rules the lab can put into the way of packets.
FILTER_TOOLS: Final = ("iptables-legacy", "iptables-nft", "ebtables", "tc")
#: Files that know the processes of a capture (the device's name follows) and of the second meters;
#: `read_settings.sh` reads them.
CAPTURE_RECORD: Final = "/run/kvmlab-capture"
METERS_RECORD: Final = "/run/kvmlab-second-meters"
_MTU_MAX: Final = 1 << 20
#: Between the words of two interfaces of one function.
NEXT_INTERFACE: Final = "+"

Build = Callable[..., Command]


@dataclass(frozen=True)
class _Operation:
    build: Build
    checks: tuple[Callable[[str], bool], ...]
    #: Any number of further values.
    more: Callable[[str], bool] | None = None


_OPERATIONS: dict[str, _Operation] = {}


def register(
    name: str, *checks: Callable[[str], bool], more: Callable[[str], bool] | None = None
) -> Callable[[Build], Build]:
    """Make a function an operation: it gets one text for each check, and returns its command."""

    def wrap(build: Build) -> Build:
        def built(*values: str) -> Command:
            return replace(build(*values), operation=(name, *values))

        _OPERATIONS[name] = _Operation(built, checks, more)
        return built

    return wrap


def command_of(operation: Sequence[str]) -> Command:
    """Build the command of a journalled operation.

    Raises:
        ValueError: there is no such operation, or its values are not of its kind.
    """
    name, *values = operation
    known = _OPERATIONS.get(name)
    if known is None:
        raise ValueError(f"no operation {name!r}")
    fixed, more = values[: len(known.checks)], values[len(known.checks) :]
    if len(fixed) != len(known.checks) or (more and known.more is None):
        raise ValueError(f"{name} with {len(values)} values")
    checks = (*known.checks, *([known.more] * len(more) if known.more else ()))
    for value, check in zip(values, checks, strict=True):
        if not check(value):
            raise ValueError(f"{value[:80]!r} is no value of {name}")
    return known.build(*values)


def is_interface(text: str) -> bool:
    """Return whether the kernel would take ``text`` for an interface's name."""
    try:
        check_interface_name(text)
    except UsageError:
        return False
    return not text.startswith("-")


def is_address(text: str) -> bool:
    """Return whether ``text`` is an address with its prefix length."""
    try:
        ip_interface(text)
    except ValueError:
        return False
    return "/" in text and "%" not in text


def is_pci(text: str) -> bool:
    """Return whether ``text`` is a PCI address such as 0000:0b:00.1."""
    return _PCI.fullmatch(text) is not None


def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def _is_name_or_none(text: str) -> bool:
    return text == "-" or _is_name(text)


def _is_mac(text: str) -> bool:
    return _MAC.fullmatch(text) is not None


def _is_mtu(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < int(text[:9]) <= _MTU_MAX


def _is_switch(text: str) -> bool:
    return text in ("up", "down")


def _is_on_or_off(text: str) -> bool:
    return text in ("on", "off")


def _is_xdp_mode(text: str) -> bool:
    return text in ("xdpgeneric", "xdpdrv")


def _is_filter_tool(text: str) -> bool:
    return text in FILTER_TOOLS


def _is_bridge_sysctl(text: str) -> bool:
    return _BRIDGE_SYSCTL.fullmatch(text) is not None


def _is_sys_path(text: str) -> bool:
    return _SYS_PATH.fullmatch(text) is not None and not {".", ".."} & set(text.split("/"))


def _is_file_path(text: str) -> bool:
    components = text.split("/")
    return text.startswith("/") and text.isprintable() and not {".", "..", ""} & set(components[1:])


def _is_value(text: str) -> bool:
    return _VALUE.fullmatch(text) is not None


def _is_alias(text: str) -> bool:
    return text.isprintable() and len(text.encode()) < 256 and not text.startswith("-")


@register("write", _is_sys_path, _is_value)
def write_setting(path: str, value: str) -> Command:
    """Write a value into a file of /sys."""
    return Command.write(path, value)


@register("write-sysctl", _is_bridge_sysctl, _is_value)
def write_sysctl(path: str, value: str) -> Command:
    """Write a setting of the kernel's bridges below /proc/sys."""
    return Command.write(path, value)


@register("set-mtu", is_interface, _is_mtu, _is_name_or_none)
def set_mtu(name: str, mtu: str, netns: str) -> Command:
    """Set an interface's MTU; ``netns`` is "-" for the host's own namespace."""
    return Command(("ip", *_in(netns), "link", "set", "dev", name, "mtu", mtu))


@register("set-feature", is_interface, _is_name, _is_on_or_off, _is_name_or_none)
def set_feature(device: str, name: str, state: str, netns: str) -> Command:
    """Switch an offload of an interface on or off; ``netns`` as for `set_mtu`."""
    words = ("ethtool", "-K", device, name, state)
    return Command(words if netns == "-" else ("ip", "netns", "exec", netns, *words))


@register("set-coalescing", is_interface, _is_name, str.isdecimal)
def set_coalescing(device: str, name: str, value: str) -> Command:
    """Set how an interface coalesces interrupts: a number of microseconds or frames."""
    return Command(("ethtool", "-C", device, name, value))


@register("detach-xdp", is_interface, _is_xdp_mode)
def detach_xdp(device: str, mode: str) -> Command:
    """Take an interface's program of XDP away; ``mode`` is "xdpgeneric" or "xdpdrv"."""
    return Command(("ip", "link", "set", "dev", device, mode, "off"))


@register("end-capture", is_interface)
def end_capture(device: str) -> Command:
    """End the lab's tcpdump at a device."""
    return Command(
        ("sh", "-s", "--", "stop", device, "0", CAPTURE_RECORD),
        _script("capture.sh"),
        shown_as=f"(end the lab's tcpdump at {device})",
    )


@register("end-meters")
def end_second_meters() -> Command:
    """End the second set of the lab's meters."""
    return Command(
        ("sh", "-s", "--", "stop", METERS_RECORD),
        _script("second_meters.sh"),
        shown_as="(end the second set of the lab's meters)",
    )


@register("unpin-threads", _is_name)
def unpin_threads(domain: str) -> Command:
    """Let the threads of a VM run on all CPUs."""
    return Command(
        ("sh", "-s", "--", "unpin", domain, "-"),
        _script("pin_threads.sh"),
        shown_as=f"(let the threads of {domain} run on all CPUs)",
    )


@register("drop-rules", _is_filter_tool, is_interface)
def drop_rules(tool: str, device: str) -> Command:
    """Take away the lab's rules that look at the packets of a device."""
    return Command(
        ("sh", "-s", "--", "drop", tool, device, "0"),
        _script("filter_rules.sh"),
        shown_as=f"(take the lab's rules out of {tool} at {device})",
    )


@register("switch-link", is_interface, _is_switch)
def switch_link(name: str, state: str) -> Command:
    """Set an interface up or down."""
    return Command(("ip", "link", "set", "dev", name, state))


@register("leave-master", is_interface)
def leave_master(name: str) -> Command:
    """Take an interface out of its bridge."""
    return Command(("ip", "link", "set", "dev", name, "nomaster"))


@register("set-alias", is_interface, _is_alias)
def set_alias(name: str, alias: str) -> Command:
    """Set an interface's alias; "" removes it."""
    return Command(("ip", "link", "set", "dev", name, "alias", alias))


@register("delete-link", is_interface)
def delete_link(name: str) -> Command:
    """Delete an interface of the kernel's own making, such as a bridge."""
    return Command(("ip", "link", "delete", "dev", name))


@register("flush-address", is_interface, is_address)
def flush_address(name: str, address: str) -> Command:
    """Remove an address from an interface, where it has it."""
    return Command(("ip", "address", "flush", "dev", name, "to", address))


@register("load-module", _is_name)
def load_module(name: str) -> Command:
    """Load a module without options."""
    return Command(("modprobe", name))


@register("unload-module", _is_name)
def unload_module(name: str) -> Command:
    """Unload a module, and what only it needs."""
    return Command(("modprobe", "-r", name))


@register("remove-module", _is_name)
def remove_module(name: str) -> Command:
    """Remove a module alone: `unload_module` takes what it needs along, such as bridges."""
    return Command(("rmmod", name))


@register("destroy-network", _is_name)
def destroy_network(name: str) -> Command:
    """End a transient network of libvirt's."""
    return Command(("virsh", "net-destroy", name))


@register("remove-file", _is_file_path)
def remove_file(path: str) -> Command:
    """Remove a file."""
    return Command(("rm", "-f", "--", path))


@register("await-link", is_interface)
def await_link_again(name: str) -> Command:
    """Wait for a port's link where it had one; without a link this is no failure."""
    return Command(
        ("sh", "-s", "--", name, "may"),
        _script("await_link.sh"),
        only_when=(f"/sys/class/net/{name}/carrier", "1"),
        shown_as=f"(wait until {name} has its link again, if it had one)",
    )


@register(
    "restore-port", is_pci, _is_name, _is_name_or_none, _is_name_or_none, more=str.isprintable
)
def restore_port(
    address: str, driver: str, override: str, netns: str, *interface_words: str
) -> Command:
    """Bring a port back from any state; ``override`` and ``netns`` are "-" where there is none.

    ``interface_words`` are name, "up" or "down", MTU, MAC and addresses of each interface, with
    `NEXT_INTERFACE` between them.

    Raises:
        ValueError: they are not.
    """
    interfaces = _interfaces(interface_words)
    folder = f"/sys/bus/pci/devices/{address}"
    by_hand = [
        f"echo > {folder}/driver_override",
        f"echo {address} > {folder}/driver/unbind",
        f"echo {address} > /sys/bus/pci/drivers_probe",
    ]
    ip = "ip" if netns == "-" else f"ip -n {netns}"
    for name, switch, mtu, _, *addresses in interfaces:
        by_hand.append(f"ip link set dev ethN name {name}")
        if netns != "-":
            by_hand.append(f"ip link set dev {name} netns {netns}")
        by_hand.append(f"{ip} link set dev {name} mtu {mtu} {switch}")
        by_hand += [f"{ip} address replace {own} dev {name}" for own in addresses]
    (name, *first), *others = interfaces
    words = [address, driver, override, name, netns, *first]
    for other in others:
        words += [NEXT_INTERFACE, *other]
    return Command(
        ("sh", "-s", "--", *words), _script("put_port_back.sh"), shown_as="; ".join(by_hand)
    )


def _interfaces(words: Sequence[str]) -> list[list[str]]:
    """Split the words of `restore_port` into those of each interface, and check them."""
    interfaces: list[list[str]] = [[]]
    for word in words:
        if word == NEXT_INTERFACE:
            interfaces.append([])
        else:
            interfaces[-1].append(word)
    checks = (is_interface, _is_switch, _is_mtu, _is_mac)
    for interface in interfaces:
        fixed, addresses = interface[: len(checks)], interface[len(checks) :]
        whole = len(fixed) == len(checks) and all(map(is_address, addresses))
        if not whole or not all(check(word) for check, word in zip(checks, fixed, strict=True)):
            raise ValueError(f"{' '.join(interface)[:80]!r} is no interface of restore-port")
    return interfaces


def _in(netns: str) -> tuple[str, ...]:
    return () if netns == "-" else ("-n", netns)


def _script(name: str) -> str:
    return script_text("kvmlab.changes", name)
