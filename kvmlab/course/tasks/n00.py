"""Tasks of notebook 00, the path of a packet."""

from __future__ import annotations

from typing import Final

from kvmlab.course.bilingual import Bilingual
from kvmlab.course.site import Site
from kvmlab.course.task import Difficulty, Mistake, Practice, Reasons, Task
from kvmlab.course.tasks.checks import (
    BRIDGE,
    BY_QEMU,
    LOOPBACK,
    MAKE_BRIDGE,
    MILLISECONDS,
    ROUND_TRIP_MISTAKES,
    TENFOLD,
    VIRTIO,
    as_answer,
    attach,
    chosen,
    interface_xml,
    measured,
    one_interface,
    round_trip,
)
from kvmlab.schemes import Virtio


def check_tap(site: Site) -> Reasons:
    """See that the answer is the tap of the VM."""
    interface = site.interface
    tap = interface.target_dev if interface is not None else None
    if site.answer == tap:
        return []
    link = site.links.get(site.answer)
    if link is None:
        return [
            Bilingual(
                f"The host has no interface {site.answer}. Names of the VM's own interfaces are "
                "not known here: look at the host's side of the NIC.",
                f"宿主机上没有接口 {site.answer}。虚拟机内部的接口名在这里没有意义：请看网卡在宿主机这一侧的名字。",
            )
        ]
    kind = link.get("linkinfo", {}).get("info_kind", "")
    if kind == "bridge":
        return [
            Bilingual(
                f"{site.answer} is the bridge itself. The tap is one of its two ports: `bridge "
                "link` lists both.",
                f"{site.answer} 是网桥本身。tap 是它的两个网桥端口之一：`bridge link` 会列出两个。",
            )
        ]
    return [
        Bilingual(
            f"{site.answer} is {'a ' + kind if kind else 'a port of hardware'}, where the cable "
            "is. Packets of the VM enter the kernel on the other side of the bridge.",
            f"{site.answer} 是{'一个 ' + kind if kind else '物理网口'}，网线就插在那里。虚拟机的数据包是从网桥的另一侧进入内核的。",
        )
    ]


def check_bridge(site: Site) -> Reasons:
    """See that the port is in a bridge, and that both are up."""
    reasons: Reasons = []
    bridge, port = site.links.get(BRIDGE), site.links["p2p1"]
    if bridge is None or bridge.get("linkinfo", {}).get("info_kind") != "bridge":
        reasons.append(
            Bilingual(f"There is no bridge of the name {BRIDGE}.", f"没有名为 {BRIDGE} 的网桥。")
        )
    elif "UP" not in bridge["flags"]:
        reasons.append(
            Bilingual(
                f"{BRIDGE} is there and switched off: a new bridge is down until `ip link set "
                "NAME up`.",
                f"{BRIDGE} 有了，但没有启用：新建的网桥要用 `ip link set 名字 up` 打开。",
            )
        )
    wrong = [link["ifname"] for link in site.links.values() if link.get("master") == BRIDGE]
    if port.get("master") != BRIDGE:
        others = ", ".join(wrong)
        reasons.append(
            Bilingual(
                "p2p1 does not belong to the bridge"
                + (f"; {others} does, where no cable under test is." if others else "."),
                "p2p1 不在网桥里"
                + (f"；里面是 {others}，被测的网线不在那里。" if others else "。"),
            )
        )
    elif "UP" not in port["flags"]:
        reasons.append(Bilingual("p2p1 is in the bridge, and down.", "p2p1 在网桥里，但没有启用。"))
    return reasons


def check_qemu_nic(site: Site) -> Reasons:
    """See that the VM has a virtio NIC on the bridge that QEMU serves."""
    reasons = one_interface(site)
    interface = site.interface
    if interface is None:
        return reasons
    if interface.model != "virtio":
        reasons.append(
            Bilingual(
                "The NIC is a {model}: without `<model type='virtio'/>` libvirt "
                "chooses an emulated one.",
                "网卡是 {model}：没有 `<model type='virtio'/>` 时，libvirt 会选一个全虚拟化网卡。",
            ).format(model=interface.model)
        )
    elif site.threads.vhost:
        reasons.append(
            Bilingual(
                "A vhost worker serves the NIC, not QEMU: without `<driver name='qemu'/>` libvirt "
                "uses vhost wherever it can.",
                "为这块网卡服务的是 vhost 工作线程，不是 QEMU：没有 `<driver name='qemu'/>` 时，libvirt 能用 vhost 就用 vhost。",
            )
        )
    if interface.source_bridge != BRIDGE:
        reasons.append(
            Bilingual(f"The NIC is not on the bridge {BRIDGE}.", f"网卡没有接在网桥 {BRIDGE} 上。")
        )
    return reasons


TASKS: Final = (
    Task(
        id="00-1",
        title=Bilingual("Find the tap", "找出 tap"),
        text=Bilingual(
            "The VM has a virtio NIC on a bridge. In a shell on the host, find the device through "
            "which its packets enter the kernel, and enter its name.",
            "虚拟机有一块接在网桥上的 virtio 网卡。在宿主机的 shell 里找出它的数据包进入内核时经过的设备，填写它的名字。",
        ),
        trains=Bilingual("locating a VM's NIC on the host", "在宿主机上定位虚拟机的网卡"),
        minutes=3,
        difficulty=Difficulty.EASY,
        practice=Practice.SHELL,
        scheme=Virtio(backend="qemu"),
        check=check_tap,
        right_answer=lambda site: str(site.interfaces[0].target_dev),
        hints=(
            Bilingual(
                "libvirt knows it: which command lists the interfaces of a domain?",
                "libvirt 知道：哪条命令列出一个虚拟机的接口？",
            ),
            Bilingual(
                "`virsh domiflist kvmlab-vm` names it in its first column; `bridge link` shows it "
                "beside the port.",
                "`virsh domiflist kvmlab-vm` 的第一列就是它；`bridge link` 会把它和网口一起列出。",
            ),
        ),
        mistakes=(
            Mistake("is the bridge itself", answer=lambda s: bridge_of(s)),
            Mistake("a port of hardware", answer="p2p1"),
            Mistake("has no interface eth0", answer="eth0"),
        ),
    ),
    Task(
        id="00-2",
        title=Bilingual("A bridge by hand", "手工建一个网桥"),
        text=Bilingual(
            f"Make a bridge {BRIDGE} and put the port p2p1 into it, so that a VM could be "
            "connected. Both have to be up. (On a server this cuts the connections over that port; "
            "never try it with mgmt0.)",
            f"建一个网桥 {BRIDGE}，把网口 p2p1 放进去，好让虚拟机接上来。两者都要启用。（在服务器上，这会断开经过该网口的连接；绝不要对 mgmt0 这样做。）",
        ),
        trains=Bilingual("ip link, bridge", "ip link 和 bridge 命令"),
        minutes=4,
        difficulty=Difficulty.EASY,
        practice=Practice.SHELL,
        check=check_bridge,
        solution=MAKE_BRIDGE,
        hints=(
            Bilingual(
                "Three commands of `ip link`: add, set … master, set … up.",
                "三条 `ip link` 命令：add、set … master、set … up。",
            ),
            Bilingual(
                "\n".join(f"`{line}`" for line in MAKE_BRIDGE),
                "\n".join(f"`{line}`" for line in MAKE_BRIDGE),
            ),
        ),
        mistakes=(
            Mistake("does not belong to the bridge", (MAKE_BRIDGE[0], MAKE_BRIDGE[2])),
            Mistake("switched off", MAKE_BRIDGE[:2]),
            Mistake(
                "p1p1 does, where no cable under test is",
                (MAKE_BRIDGE[0], f"ip link set p1p1 master {BRIDGE} up", MAKE_BRIDGE[2]),
            ),
        ),
    ),
    Task(
        id="00-3",
        title=Bilingual("Plug in a NIC by XML", "用 XML 插一块网卡"),
        text=Bilingual(
            "The bridge br-course is there, with the port in it. Write an `<interface>` and attach "
            "it to the running VM kvmlab-vm: virtio, on that bridge, MAC 52:54:00:6b:00:0c, served by "
            "QEMU itself, as in this notebook.",
            "网桥 br-course 已经建好，网口也在里面。写一个 `<interface>`，插到运行中的虚拟机 kvmlab-vm 上：virtio，接在这个网桥上，"
            "MAC 为 52:54:00:6b:00:0c，并且像本篇那样由 QEMU 自己服务。",
        ),
        trains=Bilingual("an interface in libvirt's XML", "libvirt XML 中的接口"),
        minutes=6,
        difficulty=Difficulty.MEDIUM,
        practice=Practice.SHELL,
        setup=MAKE_BRIDGE,
        check=check_qemu_nic,
        solution=(attach(interface_xml(VIRTIO, BY_QEMU)),),
        hints=(
            Bilingual(
                "`print(plan.interface_xml)` in the notebook shows such an element; `virsh "
                "attach-device kvmlab-vm FILE --live` plugs it in.",
                "笔记本里的 `print(plan.interface_xml)` 就是这样一个元素；`virsh attach-device kvmlab-vm 文件 --live` 把它插上。",
            ),
            Bilingual(
                "It needs `<source bridge='br-course'/>`, `<model type='virtio'/>` and `<driver "
                "name='qemu'/>`.",
                "需要 `<source bridge='br-course'/>`、`<model type='virtio'/>` 和 `<driver name='qemu'/>`。",
            ),
        ),
        mistakes=(
            Mistake("uses vhost wherever it can", (attach(interface_xml(VIRTIO)),)),
            Mistake("chooses an emulated one", (attach(interface_xml()),)),
            Mistake("has no interface", (attach(interface_xml(VIRTIO, source="")),)),
        ),
    ),
    Task(
        id="00-4",
        title=Bilingual("Measure a round trip", "测一次往返"),
        text=Bilingual(
            "The VM has the NIC of this notebook. Measure from the peer how long a round trip to "
            "the VM (192.0.2.10) takes: the median of many pings, in microseconds. The peer is the "
            "network namespace `peer` of the host.",
            "虚拟机有本篇的网卡。从对端测量到虚拟机（192.0.2.10）的往返时间：许多个 ping 的中位数，单位是微秒。对端是宿主机上的网络命名空间 `peer`。",
        ),
        trains=Bilingual("measuring a latency", "测量延迟"),
        minutes=5,
        difficulty=Difficulty.MEDIUM,
        practice=Practice.MEASUREMENT,
        scheme=Virtio(backend="qemu"),
        check=measured(
            round_trip, within=0.25, unit="µs", factors=(MILLISECONDS, LOOPBACK, TENFOLD)
        ),
        right_answer=as_answer(round_trip),
        unit="µs",
        hints=(
            Bilingual(
                "`ip netns exec peer COMMAND` runs a command at the peer.",
                "`ip netns exec peer 命令` 在对端运行一条命令。",
            ),
            Bilingual(
                "`ip netns exec peer ping -n -c 40 -i 0.05 192.0.2.10`; its last line has the "
                "mean, in milliseconds.",
                "`ip netns exec peer ping -n -c 40 -i 0.05 192.0.2.10`；最后一行是平均值，单位是毫秒。",
            ),
        ),
        mistakes=ROUND_TRIP_MISTAKES,
    ),
    Task(
        id="00-5",
        title=Bilingual("Who moves the packet?", "谁在搬数据包？"),
        text=Bilingual(
            'Replace `kvmlab.Virtio()` by `kvmlab.FullEmulation("e1000")` in the notebook and '
            "follow a packet again, or choose e1000 in the panel. Which thread moves it to the tap "
            "now?",
            '在笔记本里把 `kvmlab.Virtio()` 换成 `kvmlab.FullEmulation("e1000")`，再跟踪一个数据包，或者在面板里选 e1000。现在是哪个线程把它送到 tap？',
        ),
        trains=Bilingual("reading a path", "读懂路径图"),
        minutes=4,
        difficulty=Difficulty.EASY,
        practice=Practice.READING,
        choices=(
            Bilingual("QEMU's main loop, as before", "QEMU 的主循环，和之前一样"),
            Bilingual("the vCPU's own thread, CPU 0/KVM", "vCPU 自己的线程 CPU 0/KVM"),
            Bilingual("a vhost worker", "vhost 工作线程"),
            Bilingual("a softirq of the bridge", "网桥的软中断"),
        ),
        check=chosen(
            2,
            Bilingual(
                "The main loop serves virtio, whose notification wakes it. Look at the orange box "
                "of the e1000: its name has CPU in it.",
                "主循环服务的是 virtio，由通知唤醒。看 e1000 的橙色方框：名字里有 CPU。",
            ),
            Bilingual(
                "A register access stops the vCPU, and its thread plays the NIC.",
                "访问寄存器会让 vCPU 停下，由它的线程扮演网卡。",
            ),
            Bilingual(
                "vhost serves virtqueues only, and an e1000 has none: its registers need QEMU.",
                "vhost 只服务 virtqueue，e1000 没有：它的寄存器离不开 QEMU。",
            ),
            Bilingual(
                "The bridge comes after the tap: ask who brings the packet to the tap.",
                "网桥在 tap 之后：问的是谁把数据包带到 tap。",
            ),
        ),
        right_answer=lambda site: "2",
        hints=(
            Bilingual(
                "The column *moved by* of `tables.hops` names the thread.",
                "`tables.hops` 的 *moved by* 一列写着线程名。",
            ),
        ),
        mistakes=(
            Mistake("serves virtio", answer="1"),
            Mistake("an e1000 has none", answer="3"),
            Mistake("comes after the tap", answer="4"),
        ),
    ),
)


def bridge_of(site: Site) -> str:
    """Return the name of the bridge that the task began with."""
    return str(site.interfaces[0].source_bridge)
