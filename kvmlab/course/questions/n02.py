"""Questions of notebook 02."""

from __future__ import annotations

from typing import Final

from kvmlab.course.question import Question, ask

QUESTIONS: Final[tuple[Question, ...]] = (
    ask(
        "02-again",
        (
            "You switch an offload of the host's port off by hand, restart the notebook's kernel, and open the host again. What do you find?",
            "你手工关掉了宿主机网口的一项卸载，然后重启笔记本的内核，再打开宿主机。会看到什么？",
        ),
        2,
        (
            ("The offload is off, as you left it.", "卸载仍是关着的。"),
            (
                "The host ended with the kernel that had opened it. What comes up is the saved state.",
                "宿主机已随打开它的内核一起结束。再起来的是保存的状态。",
            ),
        ),
        (
            (
                "The host is as it was when its state was saved.",
                "宿主机和保存状态时一样。",
            ),
            (
                "Right. So every run begins on the same host, whatever was tried before.",
                "对。所以不管之前试过什么，每次运行都从同样的宿主机开始。",
            ),
        ),
        (
            (
                "The offload is off if you wrote it into a file of the host.",
                "如果写进了宿主机的文件，卸载就是关着的。",
            ),
            (
                "What is written on this host is in its memory, and goes back with it; its disk is only read.",
                "在这台宿主机上写的东西都在内存里，会随内存一起恢复；它的磁盘只读。",
            ),
        ),
    ),
    ask(
        "02-proof",
        (
            "The XML of a VM says `<driver name='vhost'/>`. What proves that vhost moves its packets?",
            "虚拟机的 XML 写着 `<driver name='vhost'/>`。什么能证明数据包由 vhost 搬运？",
        ),
        3,
        (
            ("the XML", "XML"),
            (
                "It says what was asked for. Look for who does the work.",
                "它只说明要求了什么。要看是谁在干活。",
            ),
        ),
        (
            ("that the module vhost_net is loaded", "加载了模块 vhost_net"),
            (
                "Another VM may use it; this one need not.",
                "可能是别的虚拟机在用，不一定是这一台。",
            ),
        ),
        (
            (
                "a thread `vhost-…` of this VM that uses CPU time while packets flow",
                "这台虚拟机的 `vhost-…` 线程，在数据包流过时消耗 CPU 时间",
            ),
            ("Right: the proof is a thread at work.", "对：证明是一个在工作的线程。"),
        ),
    ),
    ask(
        "02-mode",
        (
            "Two VMs sit on macvtaps of one port in the mode `private`. What do they notice?",
            "两台虚拟机的 macvtap 建在同一个网口上，模式是 `private`。会怎样？",
        ),
        2,
        (
            ("nothing", "没有影响"),
            (
                "In `bridge` mode nothing. `private` drops what comes from a neighbour.",
                "在 `bridge` 模式下没有影响；`private` 会丢弃来自邻居的包。",
            ),
        ),
        (
            (
                "They never reach each other, not even through the switch.",
                "它们永远互不相通，经过交换机也不行。",
            ),
            (
                "Right. The rest of the network they reach as before.",
                "对。网络的其余部分照常可达。",
            ),
        ),
        (
            ("They lose the network.", "它们断网了。"),
            (
                "Only each other; `private` is a wall between neighbours.",
                "只是彼此不通；`private` 是邻居之间的墙。",
            ),
        ),
    ),
    ask(
        "02-switches",
        (
            "Of the CPU time that vhost saves, which part is no work on packets at all?",
            "vhost 省下的 CPU 时间里，哪一部分根本不是在处理数据包？",
        ),
        1,
        (
            (
                "entering and leaving the kernel for each system call of QEMU's main loop",
                "QEMU 主循环每次系统调用进出内核",
            ),
            (
                "Right: in the figure of costs it is what the main loop had beyond the worker.",
                "对：在开销图里，就是主循环比工作线程多出来的部分。",
            ),
        ),
        (
            ("the copies", "拷贝"),
            ("The worker copies too.", "工作线程也要拷贝。"),
        ),
        (
            ("the bridge", "网桥"),
            (
                "Both back ends send through tap and bridge.",
                "两种后端都经过 tap 和网桥。",
            ),
        ),
    ),
    ask(
        "02-bridge",
        (
            "Compare `tables.hops` of vhost and of macvtap. What is the bridge's share of a packet's time on the host?",
            "比较 vhost 和 macvtap 的 `tables.hops`。网桥占数据包在宿主机上时间的多少？",
        ),
        1,
        (
            ("a small part", "一小部分"),
            (
                "Right: a lookup and a call in the same softirq. That is why leaving it out gains little.",
                "对：一次查表，加上同一个软中断里的一次调用。所以去掉它收获不大。",
            ),
        ),
        (
            ("about half", "一半左右"),
            (
                "Look at what comes before the tap: the wake-up of a thread takes longer than all devices together.",
                "看看 tap 之前：唤醒一个线程，比所有设备加起来都久。",
            ),
        ),
        (
            ("nearly all", "几乎全部"),
            (
                "Then macvtap would gain as much as vhost did; it does not.",
                "那样的话，macvtap 的收获会和 vhost 一样大；事实并非如此。",
            ),
        ),
    ),
    ask(
        "02-sweep",
        (
            '`lab.compare(by_qemu, by_vhost, trials=trials.sweep("tcp_up"))` measures TCP with messages of 64 bytes to 64 KiB. Why does the back end cease to matter for the smallest?',
            '`lab.compare(by_qemu, by_vhost, trials=trials.sweep("tcp_up"))` 用 64 字节到 64 KiB 的消息测 TCP。为什么消息最小时，后端不再重要？',
        ),
        2,
        (
            ("Small packets bypass the back end.", "小数据包绕过后端。"),
            (
                "Every packet passes it; but how many packets are there?",
                "每个数据包都经过它；但数据包有多少个？",
            ),
        ),
        (
            (
                "The guest's own system calls, one a message, are the bottleneck.",
                "瓶颈是虚拟机自己的系统调用，每条消息一次。",
            ),
            (
                "Right: TCP gathers small messages into large segments before the NIC sees them.",
                "对：TCP 先把小消息攒成大段，然后才交给网卡。",
            ),
        ),
        (
            ("The cable is full.", "网线跑满了。"),
            (
                "With small messages it is emptier than with large ones.",
                "消息小的时候，它比消息大的时候更空。",
            ),
        ),
    ),
    ask(
        "02-load",
        (
            "Round trips while a bulk stream runs are far longer than alone. What are they waiting for?",
            "有大流量时，往返比空闲时长得多。它们在等什么？",
        ),
        3,
        (
            ("the back end's thread to be woken", "等后端线程被唤醒"),
            ("It is awake already, because of the stream.", "因为有流，它本来就醒着。"),
        ),
        (
            ("the guest to boot its driver", "等虚拟机加载驱动"),
            ("The driver is there from the beginning.", "驱动一开始就在。"),
        ),
        (
            ("their turn in queues that the stream has filled", "等排队：队列被流占满了"),
            (
                "Right. A shorter path shortens little of that; less in the queues does.",
                "对。路径再短也缩短不了多少；让队列短下来才行。",
            ),
        ),
    ),
    ask(
        "02-silent",
        (
            "The XML names no back end, and libvirt cannot open `/dev/vhost-net`. What happens when the VM is started?",
            "XML 没有写后端，libvirt 又打不开 `/dev/vhost-net`。启动虚拟机时会怎样？",
        ),
        2,
        (
            ("It does not start.", "启动不了。"),
            (
                "Only if the XML names vhost: then there is nothing to fall back to.",
                "只有 XML 写明 vhost 时才会：那就没有退路。",
            ),
        ),
        (
            (
                "It starts, QEMU serves its NIC, and nobody says so.",
                "能启动，由 QEMU 为网卡服务，而且没有任何提示。",
            ),
            (
                "Right: count the workers, as the doctor does.",
                "对：要像诊断（doctor）那样数一数工作线程。",
            ),
        ),
        (
            ("It starts without a NIC.", "能启动，但没有网卡。"),
            ("The NIC is there, and slower than last year.", "网卡在，只是比去年慢。"),
        ),
    ),
    ask(
        "02-border",
        (
            "On which of the three paths does every packet cross the border to user space?",
            "三条路径中，哪一条的每个数据包都要跨过用户态的边界？",
        ),
        1,
        (
            ("the one through QEMU", "经过 QEMU 的那条"),
            (
                "Right: its main loop writes the packet to the tap by a system call.",
                "对：它的主循环用系统调用把数据包写进 tap。",
            ),
        ),
        (
            ("the one through vhost", "经过 vhost 的那条"),
            ("The worker is a thread that stays in the kernel.", "工作线程始终留在内核里。"),
        ),
        (
            ("the one through macvtap", "经过 macvtap 的那条"),
            (
                "It leaves out the bridge; with vhost it stays in the kernel as well.",
                "它省去了网桥；用 vhost 时同样留在内核里。",
            ),
        ),
    ),
    ask(
        "02-emitter",
        (
            "The table names `CPU 0/KVM` as the thread that emits packets of one scheme. What does that mean for its guest?",
            "表里某个方案的发包线程是 `CPU 0/KVM`。这对它的虚拟机意味着什么？",
        ),
        3,
        (
            (
                "Its packets are faster, since no other thread is woken.",
                "数据包更快，因为不必唤醒别的线程。",
            ),
            (
                "No wake-up, but the guest's processor does the work of the NIC.",
                "确实没有唤醒，但虚拟机的处理器要干网卡的活。",
            ),
        ),
        (
            ("The guest sends from the kernel.", "虚拟机从内核里发包。"),
            (
                "It is the thread that runs the vCPU, and at that moment it runs QEMU's code.",
                "这是运行 vCPU 的线程，此刻它跑的是 QEMU 的代码。",
            ),
        ),
        (
            (
                "The guest stands still while its packet is carried to the port.",
                "数据包被送到网口的过程中，虚拟机停着。",
            ),
            (
                "Right: that is the e1000, with or without a bridge.",
                "对：这就是 e1000，有没有网桥都一样。",
            ),
        ),
    ),
    ask(
        "02-claim",
        (
            "The ratio of macvtap to vhost in latency is 0.97, with the interval 0.93 to 1.02. What can be said of the claim “leaving out the bridge shortens the path”?",
            "macvtap 与 vhost 的延迟之比是 0.97，区间为 0.93 到 1.02。对“去掉网桥会缩短路径”能说什么？",
        ),
        3,
        (
            ("It is confirmed: 0.97 is less than 1.", "得到证实：0.97 小于 1。"),
            (
                "A ratio is one number out of a range that chance allows; the range includes 1.",
                "比值只是偶然性允许范围里的一个数；这个范围包含 1。",
            ),
        ),
        (
            ("It is rejected.", "被否定。"),
            (
                "Then the interval would lie above 1 as a whole.",
                "那样的话，整个区间应当在 1 以上。",
            ),
        ),
        (
            (
                "It is inconclusive: more trials would narrow the interval.",
                "无法定论：多做几次测试可以缩小区间。",
            ),
            (
                "Right. “No difference shown” is not “no difference”.",
                "对。“没有显出差别”不等于“没有差别”。",
            ),
        ),
    ),
    ask(
        "02-isolated",
        (
            "Host and VM have to talk, and the VM is to keep its macvtap. What helps?",
            "宿主机和虚拟机要互通，而虚拟机要保留 macvtap。怎么办？",
        ),
        2,
        (
            ("another mode of the macvtap", "换一种 macvtap 模式"),
            (
                "In none of them is a packet handed to the host below.",
                "没有一种模式会把数据包交给下面的宿主机。",
            ),
        ),
        (
            (
                "a second NIC of the VM on a bridge, or a macvlan of the host on the same port",
                "给虚拟机加一块接网桥的网卡，或在同一网口上给宿主机一个 macvlan",
            ),
            (
                "Right: two macvlans in mode bridge reach each other.",
                "对：bridge 模式的两个 macvlan 之间可以互通。",
            ),
        ),
        (
            ("an address of the host on the port itself", "在网口上给宿主机配一个地址"),
            (
                "That is where the VM cannot reach it: its packets leave by the cable.",
                "虚拟机正是到不了那里：它的数据包从网线出去了。",
            ),
        ),
    ),
    ask(
        "02-trust",
        (
            "A guest with a macvtap takes over the address of a failed router by VRRP, with a MAC of its own. Nothing arrives. Why?",
            "一台用 macvtap 的虚拟机通过 VRRP 接管了故障路由器的地址，用的是另一个 MAC。什么也收不到。为什么？",
        ),
        1,
        (
            (
                "The macvtap accepts the MAC in the XML only, as long as the guest's filters are not trusted.",
                "只要不信任虚拟机的过滤器，macvtap 就只接收 XML 里的那个 MAC。",
            ),
            (
                "Right: `trustGuestRxFilters='yes'`, if you would trust this guest with it.",
                "对：如果信得过这台虚拟机，就用 `trustGuestRxFilters='yes'`。",
            ),
        ),
        (
            ("VRRP needs a bridge.", "VRRP 需要网桥。"),
            (
                "It needs to receive for another MAC; a bridge grants that by default.",
                "它需要替另一个 MAC 收包；网桥默认就允许。",
            ),
        ),
        (
            ("The peer has a stale ARP entry.", "对端的 ARP 表项过期了。"),
            (
                "VRRP announces itself, and the packets do leave for the new MAC. Look where they end.",
                "VRRP 会通告自己，数据包也确实发往新的 MAC。看看它们停在哪里。",
            ),
        ),
    ),
)
