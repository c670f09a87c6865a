"""Faults of the bridge and of the firewalls in it: ports, VLANs, forwarding entries, rules."""

from __future__ import annotations

from collections.abc import Sequence

from kvmlab.changes.host_state import HostState
from kvmlab.course.bilingual import Bilingual
from kvmlab.facts import Rule
from kvmlab.incidents.fault import Alteration, Fault, FaultSite, Layer
from kvmlab.incidents.health import Effect


class BridgeFault(Fault):
    """A fault of the bridge between tap and port."""

    layer = Layer.BRIDGE


class FirewallFault(Fault):
    """A fault of a firewall through which bridged packets pass."""

    layer = Layer.FIREWALL


class TapOutsideBridge(BridgeFault):
    """Take the tap out of the bridge."""

    name = "tap-outside-bridge"
    level = 1
    effects = (Effect.UNREACHABLE,)
    symptom = Bilingual(
        "After the network service of the host was restarted, the VM has no network. Its XML names "
        "the right bridge.",
        "重启宿主机的网络服务之后，虚拟机断网了。它的 XML 里写的网桥是对的。",
    )
    cause = Bilingual(
        "The tap is no port of the bridge any more. libvirt puts it there when the interface is "
        "plugged in, and does not look again.",
        "tap 不再是网桥的端口。libvirt 只在插入接口时把它加进去，之后不会再看。",
    )
    evidence = ("bridge link show", "ip link show dev {tap}")

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Release the tap from its bridge."""
        return (HostState("master", site.tap, "master", "none"),)


class IsolatedPorts(BridgeFault):
    """Isolate tap and port from each other."""

    name = "isolated-ports"
    level = 3
    effects = (Effect.UNREACHABLE,)
    symptom = Bilingual(
        "Security had the bridge hardened. Since then the VM reaches nothing, and everything looks "
        "up and forwarding.",
        "安全组加固了网桥。之后虚拟机哪里都到不了，可一切看起来都是 up、forwarding。",
    )
    cause = Bilingual(
        "Both the tap and the port are isolated: isolated ports of a bridge do not talk to each "
        "other. One of the two has to be a usual port.",
        "tap 和网口都被设为 isolated：网桥的隔离端口之间互不通信。两者之一必须是普通端口。",
    )
    evidence = ("bridge -d link show",)

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Mark both ports as isolated."""
        return (
            HostState("file", site.tap, "brport/isolated", "1"),
            HostState("file", site.port, "brport/isolated", "1"),
        )


class NoFlood(BridgeFault):
    """Keep the bridge from finding the peer."""

    name = "no-flood"
    level = 3
    effects = (Effect.UNREACHABLE,)
    symptom = Bilingual(
        "ARP is answered, I can see the peer's MAC in the VM. But no ping gets through.",
        "ARP 有应答，在虚拟机里能看到对端的 MAC。但 ping 一个都不通。",
    )
    cause = Bilingual(
        "The port neither learns addresses nor floods unknown ones: broadcasts pass, and unicast to "
        "the peer has nowhere to go.",
        "网口既不学习地址，也不泛洪未知单播：广播能过，发往对端的单播却无处可去。",
    )
    evidence = ("bridge -d link show dev {port}", "bridge fdb show br {bridge}")

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Switch learning off, which forgets what was learnt, and flooding."""
        return (
            HostState("file", site.port, "brport/learning", "0"),
            HostState("file", site.port, "brport/unicast_flood", "0"),
        )


class StaticEntry(BridgeFault):
    """Enter the peer's MAC at the wrong port."""

    name = "static-entry"
    level = 3
    effects = (Effect.UNREACHABLE,)
    symptom = Bilingual(
        "One single server cannot be reached from the VM. That server answers everybody else.",
        "从虚拟机唯独到不了某一台服务器。那台服务器对其他人都正常应答。",
    )
    cause = Bilingual(
        "The bridge has a static entry that says the peer's MAC is behind the VM's own tap: frames "
        "to it are never sent out of the port.",
        "网桥里有一条静态表项，说对端的 MAC 在虚拟机自己的 tap 后面：发往它的帧永远不会从网口出去。",
    )
    evidence = ("bridge fdb show br {bridge}",)

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Add the entry."""
        return (HostState("fdb", site.tap, site.peer_mac, "on"),)


class WrongVlan(BridgeFault):
    """Put the VM into another VLAN of the bridge."""

    name = "wrong-vlan"
    level = 2
    effects = (Effect.UNREACHABLE,)
    symptom = Bilingual(
        "The VM was moved to the bridge with VLANs and is alone in the world there.",
        "虚拟机被移到了带 VLAN 的网桥上，从此与世隔绝。",
    )
    cause = Bilingual(
        "The bridge filters VLANs, and the tap's own VLAN (PVID) is 20, while the port's is 1.",
        "网桥启用了 VLAN 过滤，tap 的 PVID 是 20，而网口的是 1。",
    )
    evidence = ("bridge vlan show", "ip -d link show dev {bridge}")

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Give the tap another PVID, then let the bridge filter."""
        return (
            HostState("pvid", site.tap, "vid", "20"),
            HostState("file", site.bridge, "bridge/vlan_filtering", "1"),
        )


class DisabledPort(BridgeFault):
    """Disable the port in the bridge, with its link up."""

    name = "disabled-port"
    level = 2
    effects = (Effect.UNREACHABLE,)
    symptom = Bilingual(
        "After a loop was repaired on Tuesday everybody has a network again, but the VMs of one "
        "host. The port has its link, and the bridge is up.",
        "周二修好了一个环路之后，大家的网络都恢复了，只有一台宿主机上的虚拟机没有。网口有链路，网桥也是 up。",
    )
    cause = Bilingual(
        "The bridge's port is in the state “disabled”. A program that guards against loops put it "
        "there and has ended; nobody takes it out again, and the link of the port says nothing of it.",
        "网桥的网口处于 disabled 状态。是一个防环路的程序设置的，程序已经退出，再没有谁把它改回来；网口的链路看不出任何异常。",
    )
    evidence = ("bridge link show", "cat /sys/class/net/{port}/brport/state")
    rule = Rule.BRIDGE_PORT_BLOCKED

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Set the port's state."""
        return (HostState("stp", site.port, "state", "disabled"),)


class SlowForwarding(BridgeFault):
    """Let the bridge run its spanning tree, with the longest forward delay."""

    name = "slow-forwarding"
    level = 2
    effects = (Effect.UNREACHABLE,)
    symptom = Bilingual(
        "Since the bridge was “made safe against loops”, our VM has no network when it starts, and "
        "DHCP gives up. Whoever comes a minute later says that it works.",
        "自从网桥“防了环路”，我们的虚拟机一启动就没有网络，DHCP 也放弃了。一分钟后来看的人却说是好的。",
    )
    cause = Bilingual(
        "The bridge's spanning tree is on, with a forward delay of 30 s: a port that comes up, as a "
        "VM's tap does at each start, listens and learns for twice that time before it forwards.",
        "网桥打开了生成树，转发延迟为 30 秒：端口一启用，例如每次启动虚拟机时的 tap，要先 listening 再 learning，过了两倍的时间才转发。",
    )
    evidence = ("bridge link show", "ip -d link show dev {bridge}")
    rule = Rule.BRIDGE_PORT_BLOCKED

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Switch the spanning tree on, and let the tap come up anew."""
        return (HostState("spanning-tree", site.bridge, "forward-delay", "30"),)


class ForgetfulBridge(BridgeFault):
    """Let the bridge forget at once, and flood nothing."""

    name = "forgetful-bridge"
    level = 3
    effects = (Effect.UNREACHABLE,)
    symptom = Bilingual(
        "Somebody wanted a bridge that leaks nothing to others and followed two guides at once. Now "
        "now and then a packet gets through, as if by accident.",
        "有人想让网桥不向旁人泄漏任何东西，同时照了两份指南去改。现在偶尔才有一个数据包能过去，像是碰运气。",
    )
    cause = Bilingual(
        "The bridge's ageing time is 0, so that it forgets each address at once; and neither tap nor "
        "port is flooded with what it does not know. Each of the two alone would do no harm.",
        "网桥的老化时间是 0，学到的地址立刻就忘；而 tap 和网口又都不泛洪未知单播。两样单独存在都无害。",
    )
    evidence = ("ip -d link show dev {bridge}", "bridge -d link show")
    rule = Rule.BRIDGE_FORGETS

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Set the ageing time, and switch flooding off at both ports."""
        return (
            HostState("file", site.bridge, "bridge/ageing_time", "0"),
            HostState("file", site.tap, "brport/unicast_flood", "0"),
            HostState("file", site.port, "brport/unicast_flood", "0"),
        )


class MacFilter(FirewallFault):
    """Drop the VM's frames by their MAC."""

    name = "mac-filter"
    level = 2
    effects = (Effect.UNREACHABLE,)
    symptom = Bilingual(
        "The VM is cut off since a MAC allow list was rolled out. `iptables` shows no rule at all.",
        "自从下发了 MAC 白名单，虚拟机就断网了。`iptables` 里一条规则也没有。",
    )
    cause = Bilingual(
        "ebtables drops frames with the VM's MAC in the bridge. That is a table of its own, which "
        "iptables does not show; its counters grow with each ping.",
        "ebtables 在网桥里丢弃源 MAC 为虚拟机的帧。它是另一张表，iptables 不显示；每 ping 一次它的计数就增加。",
    )
    evidence = ("ebtables -L --Lc",)

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Add a rule of ebtables."""
        return (HostState("mac-filter", "FORWARD", site.mac, "on"),)


class _BridgedRule(FirewallFault):
    """A rule of iptables that bridged packets pass."""

    match = ""
    evidence = ("iptables -L FORWARD -n -v", "sysctl net.bridge.bridge-nf-call-iptables")
    rule = Rule.BRIDGE_NETFILTER

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Load br_netfilter, then add the rule."""
        return (
            HostState("module", "br_netfilter", "-", "on"),
            HostState("rule", "forward", self.match, "on"),
        )


class BridgedDropped(_BridgedRule):
    """Drop all bridged packets in iptables."""

    name = "bridged-dropped"
    level = 2
    match = "bridged"
    effects = (Effect.UNREACHABLE,)
    symptom = Bilingual(
        "A container runtime was installed on the host, and the VM lost its network.",
        "宿主机上装了容器运行时，虚拟机就断网了。",
    )
    cause = Bilingual(
        "br_netfilter sends bridged frames through iptables, where FORWARD drops them.",
        "br_netfilter 让桥接的帧经过 iptables，在 FORWARD 链被丢弃。",
    )


class LongDropped(_BridgedRule):
    """Drop long bridged packets in iptables."""

    name = "long-dropped"
    level = 3
    match = "long"
    effects = (Effect.LARGE_LOST, Effect.SLOW_DOWNLOAD, Effect.SLOW_UPLOAD)
    symptom = Bilingual(
        "I can ping the VM and open a connection to it, then it hangs. All MTUs are 1500, I have "
        "checked them twice.",
        "能 ping 通虚拟机，也能建立连接，然后就卡住。所有 MTU 都是 1500，我查了两遍。",
    )
    cause = Bilingual(
        "It looks like an MTU problem and is a firewall: a rule drops bridged packets of 1000 bytes "
        "and more. Its counter grows with every large ping.",
        "看起来像 MTU 问题，其实是防火墙：一条规则丢弃 1000 字节以上的桥接数据包。每发一个大 ping，它的计数就增加。",
    )


class EveryTwelfthDropped(_BridgedRule):
    """Drop every twelfth bridged packet in iptables."""

    name = "every-twelfth-dropped"
    level = 3
    match = "every"
    effects = (Effect.LOSS,)
    symptom = Bilingual(
        "Calls through the VM crackle. Now and then a packet is missing, as regular as clockwork.",
        "经过虚拟机的通话有杂音。时不时少一个数据包，像钟表一样有规律。",
    )
    cause = Bilingual(
        "A forgotten test rule drops every twelfth bridged packet (match statistic, mode nth).",
        "一条被遗忘的测试规则每十二个桥接数据包丢一个（statistic 匹配，nth 模式）。",
    )


BRIDGE_FAULTS: tuple[type[Fault], ...] = (
    TapOutsideBridge,
    IsolatedPorts,
    NoFlood,
    StaticEntry,
    WrongVlan,
    DisabledPort,
    SlowForwarding,
    ForgetfulBridge,
    MacFilter,
    BridgedDropped,
    LongDropped,
    EveryTwelfthDropped,
)
