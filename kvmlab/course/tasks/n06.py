"""Tasks of notebook 06, the conclusion: from a requirement to a NIC."""

from __future__ import annotations

import re
from typing import Final

from kvmlab.advice import advise
from kvmlab.course.bilingual import Bilingual
from kvmlab.course.site import Site
from kvmlab.course.task import Difficulty, Mistake, Practice, Reasons, Task
from kvmlab.course.tasks.checks import (
    BY_QEMU,
    MAC,
    MAKE_BRIDGE,
    MILLISECONDS,
    PING_THE_VM,
    TENFOLD,
    VIRTIO,
    as_answer,
    attach,
    chosen,
    interface_xml,
    measured,
)

PF: Final = "/sys/bus/pci/devices/0000:0b:00.0"
_PORT_ADDRESS: Final = "192.0.2.10"


def check_migrating(site: Site) -> Reasons:
    """See that the NIC migrates, reaches the host and keeps QEMU off the path."""
    if site.devices or any(i.type == "hostdev" for i in site.interfaces):
        return [
            Bilingual(
                "A function of the host is in the VM. Its state cannot be read, so the VM does not migrate as it is.",
                "虚拟机里有宿主机的功能。它的状态读不出来，所以虚拟机不能直接热迁移。",
            )
        ]
    if not site.interfaces:
        return [Bilingual("The VM has no interface yet.", "虚拟机还没有接口。")]
    interface = site.interfaces[0]
    reasons: Reasons = []
    if interface.type == "direct":
        reasons.append(
            Bilingual(
                "A macvtap migrates, but host and VM do not reach each other over it, and they are to talk.",
                "macvtap 可以热迁移，但宿主机和虚拟机经过它互不相通，而这里要求它们互通。",
            )
        )
    if interface.model != "virtio" or interface.driver == "qemu" or not site.threads.vhost:
        reasons.append(
            Bilingual(
                "QEMU is on the path of every packet: no vhost worker serves the NIC.",
                "每个数据包的路径上都有 QEMU：没有 vhost 工作线程为网卡服务。",
            )
        )
    return reasons


def check_vf(site: Site) -> Reasons:
    """See that the VM has a VF with the MAC that was asked for, set through the PF."""
    vfs = [i for i in site.interfaces if i.type == "hostdev"]
    plain = [device for device in site.devices if device.find("source/address") is not None]
    if not vfs and plain and not any(i.type == "hostdev" for i in site.interfaces):
        return [
            Bilingual(
                "The VM has a function as a plain `<hostdev>`, which says nothing of a MAC: the guest sees a random one, another after each start.",
                "虚拟机得到的是普通的 `<hostdev>`，里面没有 MAC：虚拟机看到的是随机地址，每次启动都不同。",
            )
        ]
    if not vfs:
        return [
            Bilingual(
                "The VM has no VF: an `<interface type='hostdev' managed='yes'>` whose source is its PCI address, 0b:10.0.",
                "虚拟机没有 VF：要用 `<interface type='hostdev' managed='yes'>`，source 是它的 PCI 地址 0b:10.0。",
            )
        ]
    if vfs[0].mac != MAC:
        return [
            Bilingual(
                "The VF has the MAC {mac}, not 52:54:00:6b:00:0c.",
                "VF 的 MAC 是 {mac}，不是 52:54:00:6b:00:0c。",
            ).format(mac=vfs[0].mac)
        ]
    return []


def bare_round_trip(site: Site) -> float:
    """Return the median of round trips from the peer to the host's own port, in µs."""
    line = f"ip netns exec peer ping -n -c 25 -i 0.02 -W 1 {_PORT_ADDRESS}"
    times = sorted(float(ms) for ms in re.findall(r"time=([\d.]+) ms", site.read(line)))
    return 1000 * times[len(times) // 2] if times else 0.0


def check_adviser(site: Site) -> Reasons:
    """See that the answer is the scheme that the adviser puts first for this question."""
    advice = advise(site.lab.inspect(), guest_os="windows", load="light")
    first = advice.recommendations[0]
    if site.answer == first.scheme:
        return []
    for place, other in enumerate(advice.recommendations[1:], 2):
        if site.answer == other.scheme:
            return [
                Bilingual(
                    "{answer} has the place {place}, with {points} points; the first has {most}. Was the question that of a Windows guest under light load?",
                    "{answer} 排在第 {place} 位，{points} 分；第一位是 {most} 分。问的是轻负载的 Windows 虚拟机吗？",
                ).format(answer=site.answer, place=place, points=other.points, most=first.points)
            ]
    return [
        Bilingual(
            "The adviser has no scheme {answer} among its recommendations here. Enter an id of the column *scheme*, such as {example}.",
            "选型顾问的推荐里没有方案 {answer}。请填写 *scheme* 一列里的编号，例如 {example}。",
        ).format(answer=site.answer, example=advice.recommendations[-1].scheme)
    ]


def advised(site: Site) -> str:
    """Return the scheme that the adviser puts first for a Windows guest under light load."""
    advice = advise(site.lab.inspect(), guest_os="windows", load="light")
    return str(advice.recommendations[0].scheme)


def _vf_xml(*inside: str, mac: str = MAC) -> str:
    address = "<source><address type='pci' domain='0x0000' bus='0x0b' slot='0x10' function='0x0'/></source>"
    text = interface_xml(*inside, kind="hostdev", source=address, mac=mac)
    return attach(text.replace("type='hostdev'", "type='hostdev' managed='yes'"))


_PLAIN_HOSTDEV: Final = attach(
    "<hostdev mode='subsystem' type='pci' managed='yes'>\n"
    "  <source><address domain='0x0000' bus='0x0b' slot='0x10' function='0x0'/></source>\n"
    "</hostdev>"
)

TASKS: Final = (
    Task(
        id="06-1",
        title=Bilingual("It has to migrate", "它必须能热迁移"),
        text=Bilingual(
            "Requirements: the VM migrates without effort, host and VM talk to each other over the same NIC, and QEMU is not on the path of a packet. The bridge br-course is there. Choose a scheme, and give the running VM its NIC by hand.",
            "要求：虚拟机可以轻松热迁移；宿主机和虚拟机经过同一块网卡互通；数据包的路径上没有 QEMU。网桥 br-course 已经建好。选一个方案，手工给运行中的虚拟机插上网卡。",
        ),
        trains=Bilingual("from requirements to a scheme", "从需求到方案"),
        minutes=7,
        difficulty=Difficulty.MEDIUM,
        practice=Practice.SHELL,
        setup=MAKE_BRIDGE,
        check=check_migrating,
        solution=(attach(interface_xml(VIRTIO)),),
        hints=(
            Bilingual(
                "The table *What the table cannot measure* has a column for each requirement.",
                "*表格测不出来的东西*那张表，每个要求各有一列。",
            ),
            Bilingual("virtio, with vhost, on a bridge.", "virtio，用 vhost，接在网桥上。"),
        ),
        mistakes=(
            Mistake(
                "they are to talk",
                (
                    "ip link set p2p1 nomaster",
                    attach(
                        interface_xml(
                            VIRTIO, kind="direct", source="<source dev='p2p1' mode='bridge'/>"
                        )
                    ),
                ),
            ),
            Mistake("QEMU is on the path", (attach(interface_xml(VIRTIO, BY_QEMU)),)),
            Mistake("QEMU is on the path", (attach(interface_xml("<model type='e1000e'/>")),)),
        ),
    ),
    Task(
        id="06-2",
        title=Bilingual("Latency before all", "延迟优先"),
        text=Bilingual(
            "Requirements: the shortest round trips; the host keeps its port; the VM need not migrate; its MAC is 52:54:00:6b:00:0c after each start. The VF 0b:10.0 has been made. Give it to the running VM by hand.",
            "要求：往返时间最短；宿主机保留自己的网口；虚拟机不必热迁移；每次启动后 MAC 都是 52:54:00:6b:00:0c。VF 0b:10.0 已经建好。手工把它交给运行中的虚拟机。",
        ),
        trains=Bilingual("a VF by XML", "用 XML 交出一个 VF"),
        minutes=7,
        difficulty=Difficulty.MEDIUM,
        practice=Practice.SHELL,
        setup=(
            f"echo 0 >{PF}/sriov_drivers_autoprobe",
            f"echo 1 >{PF}/sriov_numvfs",
            "ip link set p2p1 up",
        ),
        check=check_vf,
        solution=(_vf_xml(),),
        hints=(
            Bilingual(
                "Notebook 04 has three methods of assigning a VF. Which of them sets its MAC through the PF?",
                "04 篇有三种交出 VF 的方法。哪一种通过 PF 设置它的 MAC？",
            ),
            Bilingual(
                "`<interface type='hostdev' managed='yes'>` with `<mac …/>` and `<source><address type='pci' …/></source>`.",
                "`<interface type='hostdev' managed='yes'>`，里面是 `<mac …/>` 和 `<source><address type='pci' …/></source>`。",
            ),
        ),
        mistakes=(
            Mistake("a random one", (_PLAIN_HOSTDEV,)),
            Mistake("The VM has no VF", (attach(interface_xml(VIRTIO)),)),
            Mistake("not 52:54:00:6b:00:0c", (_vf_xml(mac="52:54:00:6b:00:0d"),)),
        ),
    ),
    Task(
        id="06-3",
        title=Bilingual("The bare port", "裸网口"),
        text=Bilingual(
            "The host's own port p2p1 has the address 192.0.2.10 for the moment. How long is a round trip from the peer (the namespace `peer`) to it, as the median of many, in microseconds? No scheme can be faster.",
            "宿主机自己的网口 p2p1 暂时有地址 192.0.2.10。从对端（命名空间 `peer`）到它的往返时间是多少微秒？取许多次的中位数。没有方案能比它更快。",
        ),
        trains=Bilingual("a baseline", "基准"),
        minutes=4,
        difficulty=Difficulty.EASY,
        practice=Practice.MEASUREMENT,
        setup=(f"ip address add {_PORT_ADDRESS}/24 dev p2p1", "ip link set p2p1 up"),
        check=measured(bare_round_trip, within=0.25, unit="µs", factors=(MILLISECONDS, TENFOLD)),
        right_answer=as_answer(bare_round_trip),
        unit="µs",
        hints=(PING_THE_VM,),
        mistakes=(
            Mistake("prints milliseconds", factor=0.001),
            Mistake("ten times as long", factor=10),
            Mistake("is above what is measured", factor=2),
        ),
    ),
    Task(
        id="06-4",
        title=Bilingual("Ask the adviser", "问问选型顾问"),
        text=Bilingual(
            "Which scheme does the adviser put first for a Windows guest under light load? Enter its id.",
            "对轻负载的 Windows 虚拟机，选型顾问把哪个方案排在第一？填写它的编号。",
        ),
        trains=Bilingual("reading advice", "读懂建议"),
        minutes=3,
        difficulty=Difficulty.EASY,
        practice=Practice.READING,
        check=check_adviser,
        right_answer=advised,
        hints=(
            Bilingual(
                '`kvmlab.advise(facts, guest_os="windows", load="light")`; the panel has the same controls.',
                '`kvmlab.advise(facts, guest_os="windows", load="light")`；面板里有同样的控件。',
            ),
        ),
        mistakes=(
            Mistake("Was the question that", answer="virtio-qemu"),
            Mistake("Was the question that", answer="e1000"),
            Mistake("no scheme virtio", answer="virtio"),
        ),
    ),
    Task(
        id="06-5",
        title=Bilingual("Few exits, long round trips", "退出少，往返却长"),
        text=Bilingual(
            "In the table of all schemes, the row with the fewest exits of a packet is not the row with the shortest round trip. Why?",
            "在所有方案的表里，每个数据包退出最少的一行，并不是往返最短的一行。为什么？",
        ),
        trains=Bilingual("kinds of crossings", "穿越的种类"),
        minutes=4,
        difficulty=Difficulty.HARD,
        practice=Practice.READING,
        choices=(
            Bilingual("the measurement is noisy", "测量有噪声"),
            Bilingual(
                "exits are counted in a stream that shares them; a ping pays for wake-ups, and for its interrupts alone",
                "退出是在流里数的，由许多数据包分摊；而 ping 要独自承担唤醒和中断",
            ),
            Bilingual("an exit takes no time", "退出不花时间"),
            Bilingual("the peer is slower with a VF", "用 VF 时对端更慢"),
        ),
        check=chosen(
            2,
            Bilingual(
                "Run it with TRIALS=3: the order stays, and the intervals do not overlap.",
                "用 TRIALS=3 再运行：顺序不变，区间也不重叠。",
            ),
            Bilingual(
                "TCP shares one exit among dozens of frames, and what is left of a ping is whom it has to wake.",
                "TCP 让几十个帧分摊一次退出，而 ping 剩下的就是要唤醒谁。",
            ),
            Bilingual(
                "It takes the CPU out of the guest and back; notebook 01 shows what it costs. Ask which of the two columns a *stream* pays.",
                "它让 CPU 离开虚拟机再回来；01 篇展示了代价。想想两列中哪一列是*流*付的。",
            ),
            Bilingual(
                "The peer is the same for every row: the namespace, its port, its kernel.",
                "每一行的对端都一样：命名空间、网口和内核。",
            ),
        ),
        right_answer=lambda site: "2",
        hints=(
            Bilingual(
                "Of which traffic is the column of exits, and of which the column of round trips?",
                "退出那一列来自哪种流量，往返那一列呢？",
            ),
        ),
        mistakes=(
            Mistake("intervals do not overlap", answer="1"),
            Mistake("out of the guest and back", answer="3"),
            Mistake("the same for every row", answer="4"),
        ),
    ),
)
