"""Faults inside the VM: its sysctls, offloads, routes and neighbours."""

from __future__ import annotations

from collections.abc import Sequence

from kvmlab.course.bilingual import Bilingual
from kvmlab.facts import Rule
from kvmlab.incidents.fault import Alteration, Fault, FaultSite, GuestState, Layer
from kvmlab.incidents.health import Effect


class GuestFault(Fault):
    """A fault inside the VM."""

    layer = Layer.GUEST


class NoSegmentation(GuestFault):
    """Switch TCP segmentation offload off in the VM."""

    name = "no-segmentation"
    level = 2
    effects = (Effect.SLOW_UPLOAD,)
    symptom = Bilingual(
        "The VM sends at a third of its speed since somebody followed a blog post on virtio bugs. "
        "Its vCPU is busy while it sends.",
        "有人照着一篇讲 virtio 毛病的博客改过之后，虚拟机的发送速度只剩三分之一。发送时 vCPU 很忙。",
    )
    cause = Bilingual(
        "TCP segmentation offload (TSO) is off inside the VM: the guest hands over packets of "
        "1500 bytes in place of 64 KiB, and each costs its way through the virtqueue.",
        "虚拟机内的 TCP 分段卸载（TSO）被关闭：虚拟机交出的是 1500 字节的数据包而不是 64 KiB，每一个都要走一遍 virtqueue。",
    )
    evidence = ("in the VM: ethtool -k eth0",)
    rule = Rule.GUEST_OFFLOADS

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Switch segmentation off."""
        return (
            GuestState("feature", "tcp-segmentation-offload", "off"),
            GuestState("feature", "generic-segmentation-offload", "off"),
        )


class NoChecksums(GuestFault):
    """Switch transmit checksums off in the VM, and segmentation with them."""

    name = "no-checksum-offload"
    level = 3
    effects = (Effect.SLOW_UPLOAD,)
    symptom = Bilingual(
        "A capture in the VM showed “bad checksum”, so somebody “repaired” it. Now the VM sends "
        "slowly.",
        "在虚拟机里抓包看到“校验和错误”，于是有人“修好”了它。现在虚拟机发送很慢。",
    )
    cause = Bilingual(
        "Transmit checksums are off in the guest, and with them all segmentation. The “bad” ones "
        "in the capture were only not computed yet.",
        "虚拟机内的发送校验和卸载被关闭，所有分段卸载也随之关闭。抓包里“错误”的校验和只是尚未计算而已。",
    )
    evidence = ("in the VM: ethtool -k eth0",)
    rule = Rule.GUEST_OFFLOADS

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Switch transmit checksums off."""
        return (GuestState("feature", "tx-checksum-ip-generic", "off"),)


class NoMergedReceive(GuestFault):
    """Switch GRO off in the VM."""

    name = "no-merged-receive"
    level = 3
    effects = (Effect.SLOW_DOWNLOAD,)
    symptom = Bilingual(
        "Downloads have a third of their speed. On the host every offload is on, I have compared "
        "all of them.",
        "下载速度只有三分之一。宿主机上所有卸载都是打开的，我逐个比较过。",
    )
    cause = Bilingual(
        "The guest has told the host, by virtio, that it wants no merged packets (rx-gro-hw off): "
        "the host cuts each one into frames of 1500 bytes before it hands them over.",
        "虚拟机通过 virtio 告诉宿主机它不要合并的大包（rx-gro-hw off）：宿主机在交付前把每个大包切成 1500 字节的帧。",
    )
    evidence = ("in the VM: ethtool -k eth0",)
    rule = Rule.GUEST_OFFLOADS

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Switch merged packets off."""
        return (
            GuestState("feature", "generic-receive-offload", "off"),
            GuestState("feature", "rx-gro-hw", "off"),
        )


class SmallReceiveWindow(GuestFault):
    """Give TCP in the VM a receive buffer of one page."""

    name = "small-receive-window"
    level = 2
    effects = (Effect.SLOW_DOWNLOAD,)
    symptom = Bilingual(
        "Downloads crawl; uploads, pings and UDP are fine. Our administrator “saved memory” last "
        "week.",
        "下载很慢；上传、ping 和 UDP 都正常。上周我们的管理员“节省了内存”。",
    )
    cause = Bilingual(
        "net.ipv4.tcp_rmem in the VM is 4096 bytes: the sender has to wait for an answer after "
        "every few packets.",
        "虚拟机内的 net.ipv4.tcp_rmem 是 4096 字节：发送方每发几个数据包就要停下来等应答。",
    )
    evidence = ("in the VM: sysctl net.ipv4.tcp_rmem",)

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Shrink the receive buffer."""
        return (GuestState("sysctl", "net/ipv4/tcp_rmem", "4096,4096,4096", of_interface=False),)


class SmallSendBuffer(GuestFault):
    """Give TCP in the VM a send buffer of one page."""

    name = "small-send-buffer"
    level = 2
    effects = (Effect.SLOW_UPLOAD,)
    symptom = Bilingual(
        "What the VM serves is slow, for every client alike. What it fetches is fast.",
        "虚拟机对外提供的东西很慢，对所有客户端都一样。它自己去取的东西很快。",
    )
    cause = Bilingual(
        "net.ipv4.tcp_wmem in the VM is 4096 bytes: TCP never has enough on its way.",
        "虚拟机内的 net.ipv4.tcp_wmem 是 4096 字节：TCP 在途的数据总是太少。",
    )
    evidence = ("in the VM: sysctl net.ipv4.tcp_wmem",)

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Shrink the send buffer."""
        return (GuestState("sysctl", "net/ipv4/tcp_wmem", "4096,4096,4096", of_interface=False),)


class ShortRing(GuestFault):
    """Shorten the ring by which the VM receives to 16 buffers."""

    name = "short-ring"
    level = 3
    effects = (Effect.SLOW_DOWNLOAD, Effect.SLOW_UPLOAD)
    symptom = Bilingual(
        "We saved memory in the VM. Pings, name lookups and logins work, but every transfer stops dead "
        "after its first kilobytes.",
        "我们在虚拟机里省了些内存。ping、域名解析、登录都正常，但每次传输刚传几 KB 就停住不动。",
    )
    cause = Bilingual(
        "The ring by which the VM receives has 16 buffers. A merged packet of 64 KiB needs more than "
        "that: vhost waits for buffers that can never come, and everything behind it waits too.",
        "虚拟机接收用的环只有 16 个缓冲区。一个合并后的 64 KiB 大包需要的比这多：vhost 等着永远不会来的缓冲区，后面的也都跟着等。",
    )
    evidence = ("in the VM: ethtool -g eth0",)
    rule = Rule.SHORT_RING

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Shorten the ring."""
        return (GuestState("ring", "rx", "16"),)


class StaleNeighbour(GuestFault):
    """Enter a wrong MAC of the peer in the VM."""

    name = "stale-neighbour"
    level = 2
    effects = (Effect.UNREACHABLE,)
    symptom = Bilingual(
        "The peer's network card was replaced. Everybody reaches it again but this VM.",
        "对端换了一块网卡。大家都能重新访问它，除了这台虚拟机。",
    )
    cause = Bilingual(
        "The VM has a permanent entry with the peer's old MAC; it never asks by ARP.",
        "虚拟机里有一条永久表项，写着对端的旧 MAC；它从不发 ARP 询问。",
    )
    evidence = ("in the VM: arp -n", "tcpdump -c 4 -nei {tap}")

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Enter another MAC, permanently."""
        return (GuestState("neighbour", site.peer_address, "on", of_interface=False),)


class BlackholeRoute(GuestFault):
    """Route the peer into nothing."""

    name = "blackhole-route"
    level = 1
    effects = (Effect.UNREACHABLE,)
    symptom = Bilingual(
        "The VM cannot reach one address. On the host I see not a single packet of it.",
        "虚拟机到不了某一个地址。在宿主机上我连一个它的数据包都看不到。",
    )
    cause = Bilingual(
        "A blackhole route inside the VM swallows packets to the peer before they reach the NIC.",
        "虚拟机内有一条黑洞路由，发往对端的数据包还没到网卡就被吞掉了。",
    )
    evidence = ("in the VM: ip route",)

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Add the route."""
        return (GuestState("route", site.peer_address, "on", of_interface=False),)


class WrongPrefix(GuestFault):
    """Give the VM's address the wrong prefix length."""

    name = "wrong-prefix"
    level = 2
    effects = (Effect.UNREACHABLE,)
    symptom = Bilingual(
        "The VM got its address anew, the right one, and says “network is unreachable”.",
        "虚拟机重新配了地址，地址是对的，却说 “network is unreachable”。",
    )
    cause = Bilingual(
        "The address has the prefix length 32 in place of 24: there is no route to its neighbours.",
        "地址的前缀长度是 32 而不是 24：没有通往邻居的路由。",
    )
    evidence = ("in the VM: ip address", "in the VM: ip route")

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Give the address the prefix length 32."""
        return (GuestState("prefix", site.vm_address, "32"),)


class NoArp(GuestFault):
    """Switch ARP off on the VM's interface."""

    name = "no-arp"
    level = 2
    effects = (Effect.UNREACHABLE,)
    symptom = Bilingual(
        "The VM sends packets, I see them leave. Nobody ever answers to it.",
        "虚拟机在发包，我看到它们出去了。但从来没人应答。",
    )
    cause = Bilingual(
        "The interface has the flag NOARP: it neither asks for MACs nor answers who asks for its "
        "own, and sends to its own address.",
        "接口带有 NOARP 标志：既不询问别人的 MAC，也不应答别人的询问，数据包发给了自己的地址。",
    )
    evidence = ("in the VM: ip link", "tcpdump -c 4 -nei {tap}")

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Switch ARP off."""
        return (GuestState("arp", "flag", "off"),)


class SmallGuestMtu(GuestFault):
    """Give the VM's interface an MTU of 576 bytes."""

    name = "small-guest-mtu"
    level = 2
    effects = (Effect.SLOW_DOWNLOAD, Effect.SLOW_UPLOAD)
    symptom = Bilingual(
        "Both directions of the VM lost speed after it was taken out of a VPN. Nothing is lost.",
        "虚拟机离开 VPN 之后，上下行都变慢了。没有丢包。",
    )
    cause = Bilingual(
        "The VM's interface kept an MTU of 576: twice to three times as many packets for the same "
        "bytes.",
        "虚拟机的接口还留着 576 的 MTU：同样的字节数需要两到三倍的数据包。",
    )
    evidence = ("in the VM: ip link",)

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Lower the interface's MTU."""
        return (GuestState("mtu", "mtu", "576"),)


GUEST_FAULTS: tuple[type[Fault], ...] = (
    NoSegmentation,
    NoChecksums,
    NoMergedReceive,
    SmallReceiveWindow,
    SmallSendBuffer,
    ShortRing,
    StaleNeighbour,
    BlackholeRoute,
    WrongPrefix,
    NoArp,
    SmallGuestMtu,
)
