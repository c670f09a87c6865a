"""Filters on the path of bridged packets: their hooks, and rules that match nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from kvmlab.changes import Command, HostStep, Setting, operations
from kvmlab.facts.interface_users import LAB_BRIDGE
from kvmlab.hosts import script_text
from kvmlab.measure.ebpf.assembler import Program
from kvmlab.tunings.base import Target, Tuning, TuningPlace

if TYPE_CHECKING:
    from kvmlab.domain import Interface

MODULE = "/sys/module/br_netfilter"
SWITCH = "/proc/sys/net/bridge/bridge-nf-call-iptables"


def netfilter_steps(target: Target, *, is_on: bool) -> tuple[HostStep, ...]:
    """Return the steps that send bridged packets through iptables, or no longer; none if so."""
    is_loaded = target.settings.get(MODULE) is not None
    if not is_loaded:
        # With the module comes the default of 1.
        load = HostStep(
            what="Load br_netfilter: bridged packets pass the hooks of iptables from now on.",
            setting=Setting(MODULE, None, "present"),
            do=(Command(("modprobe", "br_netfilter")),),
            undo=(operations.remove_module("br_netfilter"),),
        )
        return (load,) if is_on else ()
    before, after = target.settings.get(SWITCH), str(int(is_on))
    if before is None or before == after:
        return ()
    return (
        HostStep(
            what=f"{'Send' if is_on else 'Do not send'} bridged packets through iptables.",
            setting=Setting(SWITCH, before, after),
            do=(Command.write(SWITCH, after),),
            undo=(operations.write_sysctl(SWITCH, before),),
        ),
    )


def other_bridges(target: Target) -> str:
    """Return why a filter of all bridges is refused on this host; "" where none is another's."""
    others = [link.name for link in target.facts.bridges if link.name != LAB_BRIDGE]
    if not others:
        return ""
    return f"It would change what happens to packets of other bridges too: {', '.join(others)}."


@dataclass(frozen=True)
class BridgeNetfilter(Tuning):
    """br_netfilter: whether packets that a bridge passes on go through iptables."""

    id = "br-netfilter"
    values = ("off", "on")
    default = "off"
    place = TuningPlace.HOST

    def refusal(self, target: Target) -> str:
        """Return the reason where there is no bridge, or another one."""
        if not target.has_bridge:
            return "No bridge is on the path of this scheme."
        return other_bridges(target)

    def reads(self, target: Target) -> tuple[str, ...]:
        """Return the module and its switch."""
        return (MODULE, SWITCH)

    def host_steps(self, target: Target) -> tuple[HostStep, ...]:
        """Load the module, or write its switch."""
        return netfilter_steps(target, is_on=self.value == "on")


@dataclass(frozen=True)
class FilterRules(Tuning):
    """Rules that match nothing, in the way of every packet: "none", or how many."""

    values = ("none", "0", "10", "100", "1000")
    default = "none"
    surveyed: ClassVar[tuple[str, ...]] = ("100",)
    place = TuningPlace.HOST
    tool: ClassVar[str]

    def refusal(self, target: Target) -> str:
        """Return the reason where there is no bridge, or another one."""
        if not target.has_bridge:
            return "No bridge is on the path of this scheme."
        return other_bridges(target)

    @property
    def setting(self) -> str:
        """The setting that reads as the number of rules."""
        return f"chain:{self.tool}/KVMLAB"

    def device(self, target: Target) -> str:
        """Return the device whose packets pass the rules."""
        return LAB_BRIDGE

    def reads(self, target: Target) -> tuple[str, ...]:
        """Return what leads packets to the rules."""
        return (MODULE, SWITCH, _LEGACY_MODULE)

    def leading_steps(self, target: Target) -> tuple[HostStep, ...]:
        """Return the steps that send packets to the rules: iptables sees none without them."""
        return netfilter_steps(target, is_on=True)

    def host_steps(self, target: Target) -> tuple[HostStep, ...]:
        """Add the rules, with what leads packets to them."""
        if self.value == "none":
            return ()
        device = self.device(target)
        words = ("sh", "-s", "--", "add", self.tool, device, self.value)
        rules = HostStep(
            what=f"Let every packet pass {self.value} rules of {self.tool} that match none.",
            setting=Setting(self.setting, None, self.value),
            do=(
                Command(
                    words,
                    script_text("kvmlab.changes", "filter_rules.sh"),
                    shown_as=f"({self.value} rules of {self.tool} at {device}, in a chain KVMLAB)",
                ),
            ),
            undo=(operations.drop_rules(self.tool, device),),
            settles=True,
        )
        return (*self.leading_steps(target), rules)


_LEGACY_MODULE = "/sys/module/iptable_filter"


@dataclass(frozen=True)
class IptablesRules(FilterRules):
    """Rules of iptables as it was before nftables: one after the other, in x_tables."""

    id = "iptables-rules"
    surveyed = ("0", "10", "100", "1000")
    tool = "iptables-legacy"

    def leading_steps(self, target: Target) -> tuple[HostStep, ...]:
        """Load its table as well, which is taken away again."""
        steps = super().leading_steps(target)
        if target.settings.get(_LEGACY_MODULE) is not None:
            return steps
        load = HostStep(
            what="Load the table `filter` of iptables.",
            setting=Setting(_LEGACY_MODULE, None, "present"),
            do=(Command(("modprobe", "iptable_filter")),),
            undo=(operations.unload_module("iptable_filter"),),
        )
        return (*steps, load)


@dataclass(frozen=True)
class NftRules(FilterRules):
    """Rules of nftables, written by iptables-nft."""

    id = "nft-rules"
    surveyed = ("0", "10", "100", "1000")
    tool = "iptables-nft"


@dataclass(frozen=True)
class EbtablesRules(FilterRules):
    """Rules of the bridge itself, which need no detour."""

    id = "ebtables-rules"
    tool = "ebtables"

    def leading_steps(self, target: Target) -> tuple[HostStep, ...]:
        """Return none: the bridge has hooks of its own."""
        return ()


@dataclass(frozen=True)
class TcFilters(FilterRules):
    """Filters of tc at both hooks of the port."""

    id = "tc-filters"
    tool = "tc"

    @property
    def setting(self) -> str:
        """The setting that tells of the two hooks; the port's name belongs behind it."""
        return "tc:"

    def device(self, target: Target) -> str:
        """Return the port."""
        return target.cable.port

    def leading_steps(self, target: Target) -> tuple[HostStep, ...]:
        """Return none: tc stands at the port."""
        return ()

    def host_steps(self, target: Target) -> tuple[HostStep, ...]:
        """Add the filters."""
        return tuple(
            replace(
                step,
                setting=Setting(f"tc:{target.cable.port}", None, "present"),
                touches=(target.cable.port,),
            )
            for step in super().host_steps(target)
        )


@dataclass(frozen=True)
class NwFilter(Tuning):
    """libvirt's filter of what a VM may send: `clean-traffic`, at the tap."""

    id = "nwfilter"
    values = ("none", "clean-traffic")
    default = "none"
    place = TuningPlace.HOST
    is_local = True

    def refusal(self, target: Target) -> str:
        """Return the reason where libvirt filters nothing."""
        return "" if target.has_bridge else "libvirt filters taps on bridges only."

    def edit_interface(self, interface: Interface, target: Target) -> None:
        """Name the filter, and the address that the VM may have."""
        if not self.is_default:
            interface.filter = self.value
            interface.filter_ip = target.cable.vm_address.partition("/")[0]


@dataclass(frozen=True)
class Xdp(Tuning):
    """A program of XDP at the port that looks at every frame and passes it on."""

    id = "port-xdp"
    values = ("none", "generic", "native")
    default = "none"
    place = TuningPlace.HOST

    def refusal(self, target: Target) -> str:
        """Return the reason where the port is not on the path."""
        return "" if target.has_bridge else "The path of this scheme has no port of a bridge."

    def reads(self, target: Target) -> tuple[str, ...]:
        """Return whether the port has one already."""
        return (f"xdp:{target.cable.port}",)

    def host_steps(self, target: Target) -> tuple[HostStep, ...]:
        """Load the program and attach it."""
        port = target.cable.port
        if self.is_default:
            return ()
        mode = "xdpgeneric" if self.value == "generic" else "xdpdrv"
        words = ("perl", "-", port, mode, pass_all().hex())
        return (
            HostStep(
                what=f"Attach a program of XDP to {port} ({self.value}) that passes all.",
                setting=Setting(f"xdp:{port}", None, "present"),
                do=(
                    Command(
                        words,
                        script_text("kvmlab.tunings", "attach_xdp.pl"),
                        shown_as=f"ip link set dev {port} {mode} (a program of two instructions)",
                    ),
                ),
                undo=(operations.detach_xdp(port, mode),),
                touches=(port,),
            ),
        )


def pass_all() -> bytes:
    """Assemble a program of XDP that passes every frame on.

    >>> print(disassemble(pass_all()))
        r0 = 2
        exit
    """
    return Program().end(_XDP_PASS).assembled()


_XDP_PASS = 2
