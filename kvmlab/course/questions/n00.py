"""Questions of notebook 00."""

from __future__ import annotations

from typing import Final

from kvmlab.course.question import Question, ask

QUESTIONS: Final[tuple[Question, ...]] = (
    ask(
        "00-kvm",
        (
            "The node /dev/kvm exists on a host. What does that prove?",
            "宿主机上有设备节点 /dev/kvm。这证明了什么？",
        ),
        3,
        (
            ("VMs run with hardware virtualisation.", "虚拟机会用硬件虚拟化运行。"),
            (
                "A VM may still run without: permissions, a nested host, or a broken KVM. The inspection starts a tiny guest to know.",
                "虚拟机仍可能用不上：权限、嵌套的宿主机，或者 KVM 有问题。检查时会启动一个极小的虚拟机来确认。",
            ),
        ),
        (
            ("The CPU supports virtualisation.", "CPU 支持虚拟化。"),
            (
                "A static node may exist without it, as in many containers.",
                "没有支持时也可能有静态节点，例如在许多容器里。",
            ),
        ),
        (
            ("Little: KVM has to run a guest first.", "很少：要先让 KVM 跑起一个虚拟机。"),
            (
                "Right. That is why the table says what was tried.",
                "对。所以表里写的是试过的结果。",
            ),
        ),
    ),
    ask(
        "00-mac",
        (
            "A VM is to keep its MAC address on another host. Which line of its interface's XML matters?",
            "虚拟机换到另一台宿主机后要保持 MAC 地址。接口 XML 里的哪一行起作用？",
        ),
        1,
        (
            ("`<mac address=…/>`", "`<mac address=…/>`"),
            (
                "Right. Left out, libvirt draws a new one when the VM is defined.",
                "对。不写的话，libvirt 在定义虚拟机时随机取一个。",
            ),
        ),
        (
            ("`<alias name=…/>`", "`<alias name=…/>`"),
            (
                "The alias is a name of libvirt's for the device; the guest never sees it.",
                "alias 是 libvirt 给设备起的名字，虚拟机看不到。",
            ),
        ),
        (
            ("`<target dev=…/>`", "`<target dev=…/>`"),
            (
                "That is the tap on the host, and a new one each time.",
                "那是宿主机上的 tap，每次都不同。",
            ),
        ),
    ),
    ask(
        "00-gaps",
        (
            "Where are the two longest gaps in the table of hops?",
            "各跳的表里，最长的两个间隔在哪里？",
        ),
        2,
        (
            ("on the cable", "在网线上"),
            (
                "The cable is short; a frame is on it for a moment.",
                "网线很短，帧在上面只有一瞬间。",
            ),
        ),
        (
            (
                "where QEMU and the guest come in, at the border of user space and kernel",
                "在 QEMU 和虚拟机介入的地方，用户态与内核的边界上",
            ),
            (
                "Right: a thread has to be woken there, and the guest has to run.",
                "对：那里要唤醒一个线程，还要让虚拟机运行。",
            ),
        ),
        (
            ("between bridge and port", "在网桥和网口之间"),
            (
                "That is one function calling another in the same softirq.",
                "那只是同一个软中断里的一次函数调用。",
            ),
        ),
    ),
    ask(
        "00-clock",
        (
            "Another program keeps this machine busy while you measure. What becomes of a round trip under the virtual clock?",
            "测量时，本机上另一个程序占着 CPU。虚拟时钟下测得的往返时间会怎样？",
        ),
        2,
        (
            ("It gets longer: the host gets less CPU time.", "变长：宿主机分到的 CPU 时间少了。"),
            (
                "The host runs slower in real time, and so does its clock: it counts instructions.",
                "宿主机在真实时间里变慢了，但它的时钟也跟着变慢：时钟数的是指令。",
            ),
        ),
        (
            ("Nothing: it takes as many instructions as before.", "没有变化：需要的指令一样多。"),
            ("Right. Only waiting for the result takes longer.", "对。只是等结果的时间更长。"),
        ),
        (
            ("It cannot be measured then.", "这时无法测量。"),
            ("It can: that is what this clock is for.", "可以测：这个时钟就是为此准备的。"),
        ),
    ),
    ask(
        "00-lane",
        (
            "What takes most of a round trip in the timeline?",
            "时间线里，一次往返的大部分时间花在哪里？",
        ),
        3,
        (
            ("the bridge, which looks at each packet", "网桥，它要看每个数据包"),
            (
                "Its part is a lookup in a table, in the middle of a softirq: look how narrow it is.",
                "它只是在软中断里查一次表：看看那一段有多窄。",
            ),
        ),
        (
            ("the cable", "网线"),
            (
                "Of all lanes it has no length at all: both ports are in one host.",
                "它在各条泳道里没有长度：两个网口在同一台宿主机上。",
            ),
        ),
        (
            ("threads that are woken, and enter and leave the kernel", "唤醒线程，以及进出内核"),
            (
                "Right. Each of the following notebooks takes away some of these.",
                "对。后面每一篇都会去掉其中一些。",
            ),
        ),
    ),
    ask(
        "00-tap",
        (
            "The host's kernel sends a packet into the tap `vnet0`. Who gets it there?",
            "宿主机内核把一个数据包发进 tap `vnet0`。谁在那里收下它？",
        ),
        1,
        (
            (
                "whoever holds the tap's file open: QEMU, or vhost on its behalf",
                "打开着 tap 文件的一方：QEMU，或代它工作的 vhost",
            ),
            ("Right. To the kernel, that is the VM.", "对。对内核来说，那就是虚拟机。"),
        ),
        (
            ("the guest's kernel", "虚拟机的内核"),
            (
                "It sees a packet only when somebody has put it into a buffer of its virtqueue.",
                "要等有人把数据包放进它的 virtqueue 缓冲区，它才看得到。",
            ),
        ),
        (
            ("the bridge", "网桥"),
            (
                "The bridge is on this side of the tap: it sent the packet there.",
                "网桥在 tap 的这一边：数据包正是它发过去的。",
            ),
        ),
    ),
)
