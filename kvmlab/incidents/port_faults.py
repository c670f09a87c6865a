"""Faults of the host's port and of the VM's tap: shapers, MTUs, rings, offloads, switches."""

from __future__ import annotations

from collections.abc import Sequence

from kvmlab.changes.host_state import HostState
from kvmlab.course.bilingual import Bilingual
from kvmlab.facts import Rule
from kvmlab.incidents.fault import Alteration, Fault, FaultSite, Layer
from kvmlab.incidents.health import Effect


class PortFault(Fault):
    """A fault of the port to which the bridge leads."""

    layer = Layer.PORT


class TapFault(Fault):
    """A fault of the tap, the host's end of the VM's interface."""

    layer = Layer.TAP


class PortShaper(PortFault):
    """Shape what leaves through the port."""

    name = "port-shaper"
    level = 1
    effects = (Effect.SLOW_UPLOAD,)
    symptom = Bilingual(
        "Our web server in the VM has been slow since Tuesday: customers wait minutes for a file. "
        "What the VM downloads itself comes as fast as ever.",
        "从周二开始，虚拟机里的网站变得很慢，客户下载一个文件要等好几分钟。虚拟机自己下载东西倒和以前一样快。",
    )
    cause = Bilingual(
        "Somebody tried out a rate limit and left it: a token bucket filter (tbf) on the port lets "
        "20 Mbit/s out. It sits at the port's egress, so only one direction suffers.",
        "有人试过限速后忘了删除：网口上的令牌桶过滤器（tbf）只放行 20 Mbit/s。它位于网口的出方向，所以只有一个方向受影响。",
    )
    evidence = ("tc -s qdisc show dev {port}",)

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Put a tbf on the port."""
        return (HostState("qdisc", site.port, "root", "tbf_rate_20mbit_burst_20k_latency_50ms"),)


class TapShaper(TapFault):
    """Shape what goes to the VM."""

    name = "tap-shaper"
    level = 1
    effects = (Effect.SLOW_DOWNLOAD,)
    symptom = Bilingual(
        "Since Tuesday the VM's downloads crawl. Pings are fine, and what the VM serves to others "
        "is fast.",
        "从周二开始，虚拟机的下载慢得像爬。ping 正常，虚拟机给别人提供的文件也很快。",
    )
    cause = Bilingual(
        "A token bucket filter on the VM's tap lets 20 Mbit/s through. A tap's egress is the VM's "
        "ingress, so the limit is on downloads.",
        "虚拟机的 tap 上有一个令牌桶过滤器，只放行 20 Mbit/s。tap 的出方向就是虚拟机的入方向，所以受限的是下载。",
    )
    evidence = ("tc -s qdisc show dev {tap}",)

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Put a tbf on the tap."""
        return (HostState("qdisc", site.tap, "root", "tbf_rate_20mbit_burst_20k_latency_50ms"),)


class TapPolicer(TapFault):
    """Drop what the VM sends beyond a rate."""

    name = "tap-policer"
    level = 3
    effects = (Effect.SLOW_UPLOAD,)
    symptom = Bilingual(
        "Files from the VM arrive in bursts and then not at all for a while. I looked at the queues "
        "with `tc qdisc`, and no shaper is there.",
        "从虚拟机取文件时断时续，有时好一会儿没有数据。我用 `tc qdisc` 看过队列，并没有限速器。",
    )
    cause = Bilingual(
        "A policer at the tap's ingress drops what the VM sends beyond 20 Mbit/s. It is a filter, "
        "not a queue: `tc qdisc` shows clsact only, `tc filter` shows it. Dropping without a queue "
        "costs TCP far more than the rate says.",
        "tap 的入方向有一个监管器（policer），丢弃虚拟机发送的超过 20 Mbit/s 的部分。它是过滤器而不是队列：`tc qdisc` 只显示 clsact，`tc filter` 才能看到它。不排队直接丢包，TCP 的损失远大于限速值本身。",
    )
    evidence = ("tc -s filter show dev {tap} ingress",)

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Put a policer at the tap's ingress."""
        return (HostState("police", site.tap, "ingress", "20mbit"),)


class LibvirtBandwidth(TapFault):
    """Limit the interface through libvirt."""

    name = "libvirt-bandwidth"
    level = 2
    effects = (Effect.SLOW_DOWNLOAD, Effect.SLOW_UPLOAD)
    symptom = Bilingual(
        "Both directions of the VM are slow since somebody tidied up the VM's definition. The host "
        "itself is as fast as always.",
        "自从有人整理过虚拟机的定义之后，虚拟机的上传和下载都变慢了。宿主机本身和往常一样快。",
    )
    cause = Bilingual(
        "The interface has a <bandwidth> of 2000 KiB/s in both directions. libvirt makes it an HTB "
        "class and a policer on the tap; the live XML says so.",
        "接口上有双向 2000 KiB/s 的 <bandwidth>。libvirt 把它变成 tap 上的 HTB 类和监管器；运行中的 XML 里写着。",
    )
    evidence = ("virsh domiftune {domain} {tap}", "tc class show dev {tap}")

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Set libvirt's limits."""
        return (HostState("limit", site.domain, site.tap, "2000"),)


class PortDelay(PortFault):
    """Delay what leaves through the port."""

    name = "port-delay"
    level = 1
    effects = (Effect.SLOW_ROUND_TRIP,)
    symptom = Bilingual(
        "Every click in our application takes ages, although nothing is lost and the machine has "
        "nothing to do.",
        "我们的应用每点一下都要等很久，可是没有丢包，机器也很空闲。",
    )
    cause = Bilingual(
        "A leftover of a test: netem holds every packet at the port for 40 ms.",
        "测试的遗留物：网口上的 netem 让每个数据包停留 40 ms。",
    )
    evidence = ("tc -s qdisc show dev {port}",)

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Put netem on the port."""
        return (HostState("qdisc", site.port, "root", "netem_delay_40ms"),)


class TapLoss(TapFault):
    """Lose packets on their way to the VM."""

    name = "tap-loss"
    level = 2
    effects = (Effect.LOSS, Effect.SLOW_DOWNLOAD)
    symptom = Bilingual(
        "The VM's connections hang and break off, and no cable or switch shows an error.",
        "虚拟机的连接经常卡住、断开，但网线和交换机都没有报错。",
    )
    cause = Bilingual(
        "netem on the tap loses 30 % of what goes to the VM. No error counter of a port moves; the "
        "queueing discipline counts them as dropped.",
        "tap 上的 netem 丢掉 30% 发往虚拟机的数据包。网口的错误计数器不动；队列规则把它们计为 dropped。",
    )
    evidence = ("tc -s qdisc show dev {tap}",)
    rule = Rule.RING_DROPS

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Put netem on the tap."""
        return (HostState("qdisc", site.tap, "root", "netem_loss_30%"),)


class TapMtu(TapFault):
    """Give the tap a small MTU."""

    name = "tap-mtu"
    level = 2
    effects = (Effect.LARGE_LOST,)
    symptom = Bilingual(
        "Short answers of our game server's clients reach the VM, the long ones never do. Web pages "
        "are all right.",
        "我们游戏服务器的客户端发来的短消息能到虚拟机，长消息从来到不了。网页倒是正常。",
    )
    cause = Bilingual(
        "The tap's MTU is 600. The bridge drops frames that are longer than the MTU of the port at "
        "which they leave, without a word: small packets work, large ones to the VM do not. TCP's merged "
        "packets pass, since each segment in them is cut later.",
        "tap 的 MTU 是 600。网桥会悄悄丢弃超过出口 MTU 的帧：小包正常，发往虚拟机的大包不行。TCP 合并后的大包能过，因为其中的 TCP 段稍后才切分。",
    )
    evidence = ("ip link show dev {tap}", "ip link show dev {port}")
    rule = Rule.MTU_MISMATCH

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Lower the MTU of the tap."""
        return (HostState("file", site.tap, "mtu", "600"),)


class PortMtu(PortFault):
    """Give the port a smaller MTU than the VM."""

    name = "port-mtu"
    level = 3
    effects = (Effect.LARGE_LOST,)
    symptom = Bilingual(
        "Name lookups and pings work. Backups over UDP with large datagrams never arrive, since the "
        "network people changed something.",
        "域名解析和 ping 都正常。自从网络组改了什么之后，用大数据报的 UDP 备份就再也到不了了。",
    )
    cause = Bilingual(
        "The port's MTU is 1280 and the VM's is 1500: the bridge drops what is longer at its way "
        "out. TCP may still work, since the NIC cuts its segments by the size that the VM asked for.",
        "网口的 MTU 是 1280，虚拟机的是 1500：网桥在出口丢弃更长的帧。TCP 可能仍然正常，因为网卡按虚拟机要求的大小切分 TCP 段。",
    )
    evidence = ("ip link show dev {port}", "ip link show dev {tap}")
    rule = Rule.MTU_MISMATCH

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Lower the MTU of the port."""
        return (HostState("file", site.port, "mtu", "1280"),)


class PortDown(PortFault):
    """Switch the port off."""

    name = "port-down"
    level = 1
    effects = (Effect.UNREACHABLE,)
    symptom = Bilingual(
        "The VM has had no network since last night. Inside it the interface is up and has its "
        "address.",
        "虚拟机从昨晚起就没有网络了。在它里面看，接口是 up 的，地址也在。",
    )
    cause = Bilingual(
        "The bridge's port is administratively down. A VM on a bridge sees the tap's link, not the "
        "port's: nothing inside it tells.",
        "网桥所连的网口被管理性地关闭了。桥上的虚拟机看到的是 tap 的链路而不是网口的：在虚拟机里看不出来。",
    )
    evidence = ("ip link show dev {port}", "bridge link show")

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Set the port down."""
        return (HostState("up", site.port, "flags", "down"),)


class TapDown(TapFault):
    """Switch the tap off."""

    name = "tap-down"
    level = 1
    effects = (Effect.UNREACHABLE,)
    symptom = Bilingual(
        "One VM of many lost its network; the others on the same port work.",
        "许多虚拟机中有一台断网了；同一网口上的其他虚拟机都正常。",
    )
    cause = Bilingual(
        "The VM's tap is down on the host.", "虚拟机的 tap 在宿主机上被关闭了（down）。"
    )
    evidence = ("ip link show dev {tap}", "bridge link show")

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Set the tap down."""
        return (HostState("up", site.tap, "flags", "down"),)


class VirtualCable(TapFault):
    """Unplug the virtual cable."""

    name = "virtual-cable"
    level = 1
    effects = (Effect.UNREACHABLE,)
    symptom = Bilingual(
        "The VM says that its network cable is unplugged. But it is a VM.",
        "虚拟机说它的网线没插好。可它是台虚拟机啊。",
    )
    cause = Bilingual(
        "libvirt has set the interface's link down (`virsh domif-setlink`): the guest sees no "
        "carrier. The tap on the host looks fine.",
        "libvirt 把接口的链路设为 down（`virsh domif-setlink`）：虚拟机看不到载波。宿主机上的 tap 看起来一切正常。",
    )
    evidence = (
        "virsh domif-getlink {domain} {tap}",
        "virsh dumpxml {domain} --xpath //interface",
    )

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Set the link down in libvirt."""
        return (HostState("plug", site.domain, site.tap, "down"),)


class NoReceiveOffload(PortFault):
    """Switch GRO off at the port."""

    name = "no-receive-offload"
    level = 3
    effects = (Effect.SLOW_DOWNLOAD,)
    symptom = Bilingual(
        "The VM downloads at half of its former speed, and the host's CPU is busier than before. "
        "Pings and uploads are as ever.",
        "虚拟机的下载速度只有以前的一半，宿主机的 CPU 却更忙了。ping 和上传照旧。",
    )
    cause = Bilingual(
        "Generic receive offload (GRO) is off at the port: each frame crosses bridge and tap alone, "
        "where GRO would hand the VM packets of up to 64 KiB.",
        "网口的通用接收卸载（GRO）被关闭：每一帧都单独穿过网桥和 tap，而有 GRO 时交给虚拟机的是最大 64 KiB 的大包。",
    )
    evidence = ("ethtool -k {port}",)
    rule = Rule.PORT_OFFLOADS

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Switch GRO off."""
        return (HostState("feature", site.port, "generic-receive-offload", "off"),)


class LateInterrupts(PortFault):
    """Let the port wait 10 ms before each interrupt."""

    name = "interrupt-throttling"
    level = 3
    effects = (Effect.SLOW_DOWNLOAD, Effect.SLOW_UPLOAD)
    symptom = Bilingual(
        "The host's CPU has been pleasantly idle since the power-saving project, and all transfers of "
        "the VM have lost half of their speed. Pings look the same as ever.",
        "节能项目之后，宿主机的 CPU 空闲得令人满意，而虚拟机的所有传输速度都只剩一半。ping 看起来和以前一样。",
    )
    cause = Bilingual(
        "The port waits 10 ms between two interrupts (rx-usecs 10000): a lone packet is reported at "
        "once, but the acknowledgements of a stream wait, and the sender with them.",
        "网口两次中断之间要等 10 毫秒（rx-usecs 10000）：单个数据包马上上报，而数据流的确认要等，发送方也就跟着等。",
    )
    evidence = ("ethtool -c {port}", "cat /proc/interrupts")
    rule = Rule.INTERRUPT_THROTTLING

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Set the port's interval."""
        return (HostState("coalesce", site.port, "rx-usecs", "10000"),)


class VmQuota(Fault):
    """Give the whole VM a tenth of a CPU."""

    name = "cpu-quota"
    level = 3
    layer = Layer.VM
    effects = (Effect.SLOW_DOWNLOAD, Effect.SLOW_UPLOAD)
    symptom = Bilingual(
        "Everything in the VM is slow in bursts: it runs, stops, runs again. The host has idle CPUs.",
        "虚拟机里的一切都一阵一阵地慢：跑一会儿，停一会儿，再跑。宿主机的 CPU 却是空闲的。",
    )
    cause = Bilingual(
        "QEMU with its vCPUs and vhost workers is in a cgroup whose CPU quota is a tenth of a CPU. "
        "Its cpu.stat counts the throttled periods.",
        "QEMU 连同它的 vCPU 和 vhost 工作线程被放进一个 cgroup，CPU 配额只有十分之一个 CPU。它的 cpu.stat 记录着被限制的周期数。",
    )
    evidence = (
        "cat /proc/$(cat /run/libvirt/qemu/{domain}.pid)/cgroup",
        "cat /sys/fs/cgroup/batch/cpu.max /sys/fs/cgroup/batch/cpu.stat",
    )

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Put QEMU into a cgroup with a quota."""
        return (HostState("quota", site.domain, "batch", "10000"),)


PORT_FAULTS: tuple[type[Fault], ...] = (
    PortShaper,
    TapShaper,
    TapPolicer,
    LibvirtBandwidth,
    PortDelay,
    TapLoss,
    TapMtu,
    PortMtu,
    PortDown,
    TapDown,
    VirtualCable,
    NoReceiveOffload,
    LateInterrupts,
    VmQuota,
)
