"""Tasks of notebook 01, full emulation and virtio."""

from __future__ import annotations

from typing import Final

from kvmlab.course.bilingual import Bilingual
from kvmlab.course.site import Site
from kvmlab.course.task import Difficulty, Mistake, Practice, Reasons, Task
from kvmlab.course.tasks.checks import (
    MAKE_BRIDGE,
    VIRTIO,
    as_answer,
    attach,
    chosen,
    interface_xml,
    measured,
    one_interface,
)
from kvmlab.schemes import FullEmulation

E1000E: Final = "<model type='e1000e'/>"
NO_TSO: Final = "<driver><host tso4='off' tso6='off'/></driver>"


def check_e1000e(site: Site) -> Reasons:
    """See that the VM has an e1000e, and drives it."""
    reasons = one_interface(site)
    interface = site.interface
    if interface is None:
        return reasons
    if interface.model == "e1000":
        reasons.append(
            Bilingual(
                "The NIC is an e1000, the article's 82540EM on the old PCI bus. The successor has one letter more.",
                "网卡是 e1000，也就是原文里接在老 PCI 总线上的 82540EM。它的后继者名字多一个字母。",
            )
        )
    elif interface.model == "virtio":
        reasons.append(
            Bilingual(
                "The NIC is virtio: the guest knows that no such hardware exists. The appliance has no driver for it.",
                "网卡是 virtio：虚拟机知道这种硬件并不存在。这台设备没有它的驱动。",
            )
        )
    elif interface.model != "e1000e":
        reasons.append(
            Bilingual(
                "The NIC is a {model}. Without `<model>` libvirt takes the first that this QEMU supports, whatever the guest drives.",
                "网卡是 {model}。没有 `<model>` 时，libvirt 会取这个 QEMU 支持的第一种，不管虚拟机会不会用。",
            ).format(model=interface.model)
        )
    return reasons


def check_no_tso(site: Site) -> Reasons:
    """See that the VM's virtio NIC offers no TSO."""
    reasons = one_interface(site)
    interface = site.interface
    if interface is None:
        return reasons
    if interface.model != "virtio":
        return [
            Bilingual(
                "The NIC is a {model}; the offloads of `<host>` exist for virtio only.",
                "网卡是 {model}；`<host>` 里的卸载选项只对 virtio 有效。",
            ).format(model=interface.model)
        ]
    host = interface.node.find("driver/host")
    if host is None or host.get("tso4") != "off":
        reasons.append(
            Bilingual(
                "The NIC still offers TSO to the guest: `<driver>` needs `<host tso4='off' tso6='off'/>` inside it.",
                "网卡仍然向虚拟机提供 TSO：`<driver>` 里需要 `<host tso4='off' tso6='off'/>`。",
            )
        )
        if site.read("ethtool -k p2p1 | grep ^tcp-seg").endswith("off"):
            reasons.append(
                Bilingual(
                    "It is p2p1 whose TSO is off now. That port is the host's; the guest does not see its features.",
                    "现在关掉的是 p2p1 的 TSO。那是宿主机的网口，虚拟机看不到它的特性。",
                )
            )
        tap = interface.target_dev
        if tap and site.read(f"ethtool -k {tap} | grep ^tcp-seg").endswith("off"):
            reasons.append(
                Bilingual(
                    "The tap's TSO is off: that cuts what the host sends to the VM. What the guest may hand over is set in the XML.",
                    "tap 的 TSO 关掉了：这只影响宿主机发给虚拟机的方向。虚拟机能交出多大的数据，由 XML 决定。",
                )
            )
    return reasons


#: Register accesses of the VM that QEMU's code had to answer, since it was started.
_MMIO_EXITS: Final = (
    "cat /sys/kernel/debug/kvm/*/mmio_exits 2>/dev/null | awk '{n += $1} END {print n}'"
)
_PINGS: Final = 50


def mmio_exits_per_ping(site: Site) -> float:
    """Count the register accesses of the VM for one ping of the peer."""
    netns, vm = site.notes["peer_netns"], site.notes["vm_address"]
    ping = f"ip netns exec {netns} ping -q -n -c {_PINGS} -i 0.02 {vm} >/dev/null"
    before, after = site.read(f"{_MMIO_EXITS}; {ping}; {_MMIO_EXITS}").split()
    return (int(after) - int(before)) / _PINGS


TASKS: Final = (
    Task(
        id="01-1",
        title=Bilingual("A NIC for an appliance", "给老设备一块网卡"),
        text=Bilingual(
            "An appliance has no virtio driver; it knows Intel's 82574L. The bridge br-course is there. Write an `<interface>` on it, MAC 52:54:00:6b:00:0c, with the emulated NIC on PCI Express that has replaced the e1000, and attach it to the running VM kvmlab-vm.",
            "一台设备没有 virtio 驱动，但认识 Intel 82574L。网桥 br-course 已经建好。写一个接在上面的 `<interface>`，MAC 为 52:54:00:6b:00:0c，用取代了 e1000 的那块 PCI Express 全虚拟化网卡，插到运行中的虚拟机 kvmlab-vm 上。",
        ),
        trains=Bilingual("choosing a model", "选择网卡型号"),
        minutes=5,
        difficulty=Difficulty.EASY,
        practice=Practice.SHELL,
        setup=MAKE_BRIDGE,
        check=check_e1000e,
        solution=(attach(interface_xml(E1000E)),),
        hints=(
            Bilingual(
                "The plan of this notebook has nearly the same element; only the model differs.",
                "本篇的计划里有几乎一样的元素，只有型号不同。",
            ),
            Bilingual(
                "`<model type='e1000e'/>`, then `virsh attach-device kvmlab-vm FILE --live`.",
                "`<model type='e1000e'/>`，然后 `virsh attach-device kvmlab-vm 文件 --live`。",
            ),
        ),
        mistakes=(
            Mistake("the article's 82540EM", (attach(interface_xml("<model type='e1000'/>")),)),
            Mistake("The appliance has no driver", (attach(interface_xml(VIRTIO)),)),
            Mistake("libvirt takes the first", (attach(interface_xml()),)),
        ),
    ),
    Task(
        id="01-2",
        title=Bilingual("A guest without large sends", "不用大包发送的虚拟机"),
        text=Bilingual(
            "A guest's driver breaks large sends. The bridge br-course is there. Give the running VM a virtio NIC on it, MAC 52:54:00:6b:00:0c, that offers the guest no TSO, whatever the guest asks for.",
            "某个虚拟机的驱动在大包发送上有问题。网桥 br-course 已经建好。给运行中的虚拟机插一块接在上面的 virtio 网卡，MAC 为 52:54:00:6b:00:0c，无论虚拟机怎样要求，都不向它提供 TSO。",
        ),
        trains=Bilingual("where an offload is set", "卸载特性在哪里设置"),
        minutes=8,
        difficulty=Difficulty.HARD,
        practice=Practice.SHELL,
        setup=MAKE_BRIDGE,
        check=check_no_tso,
        solution=(attach(interface_xml(VIRTIO, NO_TSO)),),
        hints=(
            Bilingual(
                "Three places know TSO: the guest, the tap, the port. Which of them decides what QEMU offers to the guest?",
                "三个地方有 TSO：虚拟机、tap、网口。其中哪一个决定 QEMU 向虚拟机提供什么？",
            ),
            Bilingual(
                "libvirt, *NIC driver-specific options*: `<driver>` may contain `<host …/>`.",
                "见 libvirt 的 *NIC driver-specific options*：`<driver>` 里可以有 `<host …/>`。",
            ),
            Bilingual(
                "`<driver><host tso4='off' tso6='off'/></driver>`",
                "`<driver><host tso4='off' tso6='off'/></driver>`",
            ),
        ),
        mistakes=(
            Mistake("still offers TSO", (attach(interface_xml(VIRTIO)),)),
            Mistake(
                "That port is the host's",
                (attach(interface_xml(VIRTIO)), "ethtool -K p2p1 tso off"),
            ),
            Mistake(
                "The tap's TSO is off",
                (
                    attach(interface_xml(VIRTIO)),
                    "ethtool -K $(virsh domiflist kvmlab-vm | awk '/bridge/ {print $1}') tso off",
                ),
            ),
        ),
    ),
    Task(
        id="01-3",
        title=Bilingual("Count the register accesses", "数一数寄存器访问"),
        text=Bilingual(
            "The VM has the e1000. How many register accesses does one ping of the peer cost, as KVM counts them (mmio_exits)? Count over at least fifty pings.",
            "虚拟机用的是 e1000。按 KVM 的计数（mmio_exits），对端的一个 ping 要多少次寄存器访问？至少数五十个 ping。",
        ),
        trains=Bilingual("counting instead of timing", "用计数代替计时"),
        minutes=8,
        difficulty=Difficulty.MEDIUM,
        practice=Practice.MEASUREMENT,
        scheme=FullEmulation("e1000"),
        check=measured(
            mmio_exits_per_ping,
            within=0.3,
            unit="/ping",
            factors=(
                (
                    float(_PINGS),
                    Bilingual(
                        "That is the count of all fifty pings: divide it by their number.",
                        "这是五十个 ping 的总数：请除以个数。",
                    ),
                ),
                (
                    10.0,
                    Bilingual(
                        "That is far too much for one ping. The counter runs since the VM was started: read it before and after, and take the difference.",
                        "一个 ping 用不了这么多。计数器从虚拟机启动时就在累计：请在前后各读一次，取差值。",
                    ),
                ),
                (
                    0.1,
                    Bilingual(
                        "That is what virtio needs. Is the NIC the e1000, and is the counter mmio_exits?",
                        "这是 virtio 的水平。网卡是 e1000 吗，读的是 mmio_exits 吗？",
                    ),
                ),
            ),
        ),
        right_answer=as_answer(mmio_exits_per_ping),
        unit="/ping",
        hints=(
            Bilingual(
                "KVM keeps its counters for each VM in `/sys/kernel/debug/kvm/`.",
                "KVM 把每台虚拟机的计数器放在 `/sys/kernel/debug/kvm/` 里。",
            ),
            Bilingual(
                "`cat /sys/kernel/debug/kvm/*/mmio_exits`, then `ip netns exec peer ping -q -c 50 -i 0.02 192.0.2.10`, then the counter again.",
                "先 `cat /sys/kernel/debug/kvm/*/mmio_exits`，再 `ip netns exec peer ping -q -c 50 -i 0.02 192.0.2.10`，然后再读一次计数器。",
            ),
        ),
        mistakes=(
            Mistake("divide it by their number", factor=_PINGS),
            Mistake("take the difference", factor=10),
            Mistake("what virtio needs", factor=0.1),
        ),
    ),
    Task(
        id="01-4",
        title=Bilingual("The exit that dominates", "最多的退出"),
        text=Bilingual(
            "In the figure of costs, which exit reason dominates a packet of the e1000's TCP stream, and why?",
            "在开销图里，e1000 的 TCP 流中，每个数据包最多的退出原因是哪一种，为什么？",
        ),
        trains=Bilingual("exit reasons", "退出原因"),
        minutes=4,
        difficulty=Difficulty.MEDIUM,
        practice=Practice.READING,
        choices=(
            Bilingual("hlt: the vCPU waits for the peer", "hlt：vCPU 在等对端"),
            Bilingual("msr: the guest sets its timer", "msr：虚拟机在设定时器"),
            Bilingual(
                "npf (ept_misconfig on Intel): the guest reads and writes the NIC's registers",
                "npf（Intel 上是 ept_misconfig）：虚拟机读写网卡的寄存器",
            ),
            Bilingual("interrupt: the host's own network card", "interrupt：宿主机自己的网卡"),
        ),
        check=chosen(
            3,
            Bilingual(
                "hlt is a vCPU with nothing to do: idling, not the price of a packet. It is larger with virtio, which waits more.",
                "hlt 表示 vCPU 没事可做：是空闲，不是数据包的代价。virtio 等得更多，它反而更大。",
            ),
            Bilingual(
                "The registers of an imitated NIC lie in memory that nobody backs, so that each access is a nested page fault.",
                "被模仿的网卡寄存器落在没有后备的内存上，所以每次访问都是一次嵌套缺页。",
            ),
            Bilingual(
                "The registers of an imitated NIC lie in memory that nobody backs, so that each access is a nested page fault.",
                "被模仿的网卡寄存器落在没有后备的内存上，所以每次访问都是一次嵌套缺页。",
            ),
            Bilingual(
                "Such exits belong to the host, and come with either NIC. Compare the two bars: what is in the one only?",
                "这类退出属于宿主机，两种网卡都有。比较两条柱子：哪一种只在其中一条里？",
            ),
        ),
        right_answer=lambda site: "3",
        hints=(
            Bilingual(
                "Which colour of the bar of exits is gone with virtio?",
                "退出那一栏里，换成 virtio 后哪一种颜色消失了？",
            ),
        ),
        mistakes=(
            Mistake("idling", answer="1"),
            Mistake("nested page fault", answer="2"),
            Mistake("belong to the host", answer="4"),
        ),
    ),
    Task(
        id="01-5",
        title=Bilingual("Why a ping is expensive", "为什么 ping 这么贵"),
        text=Bilingual(
            "Change the workload of `figures.costs` to `latency`. A packet of a ping costs far more exits than one of a TCP stream, with either NIC. What is the main reason?",
            "把 `figures.costs` 的负载改成 `latency`。无论哪种网卡，ping 的一个数据包比 TCP 流的一个数据包多出许多退出。主要原因是什么？",
        ),
        trains=Bilingual("batching", "批量处理"),
        minutes=4,
        difficulty=Difficulty.MEDIUM,
        practice=Practice.READING,
        choices=(
            Bilingual("ICMP is handled in software", "ICMP 由软件处理"),
            Bilingual(
                "nothing shares its notification, its interrupt and its wake-ups",
                "没有别的数据包和它分摊通知、中断和唤醒",
            ),
            Bilingual("a ping is a larger packet", "ping 的数据包更大"),
            Bilingual("the peer answers slowly", "对端回答得慢"),
        ),
        check=chosen(
            2,
            Bilingual(
                "So is TCP, by the same kernel. Ask how many packets share one notification.",
                "TCP 也由同一个内核的软件处理。想想多少个数据包分摊一次通知。",
            ),
            Bilingual(
                "TSO lets one notification serve dozens of frames of a stream.",
                "有了 TSO，流的一次通知可以服务几十个帧。",
            ),
            Bilingual(
                "It has 98 bytes; a frame of the stream has 1,514, and the guest hands over up to 64 KiB at once.",
                "它只有 98 字节；流的一个帧有 1,514 字节，而虚拟机一次最多交出 64 KiB。",
            ),
            Bilingual(
                "The time in which the VM waits costs no exits but hlt. Leave hlt out: the ratio stays.",
                "等待的时间除了 hlt 不产生退出。去掉 hlt，比例仍然如此。",
            ),
        ),
        right_answer=lambda site: "2",
        hints=(
            Bilingual(
                "How many frames leave with one notification in a stream, and how many with a ping?",
                "流的一次通知送出多少个帧，ping 呢？",
            ),
        ),
        mistakes=(
            Mistake("share one notification", answer="1"),
            Mistake("64 KiB at once", answer="3"),
            Mistake("no exits but hlt", answer="4"),
        ),
    ),
)
