"""Questions of notebook 07."""

from __future__ import annotations

from typing import Final

from kvmlab.course.question import Question, ask

QUESTIONS: Final[tuple[Question, ...]] = (
    ask(
        "07-bandwidth",
        (
            "A migration is limited to less bandwidth. Which phase gets longer?",
            "给热迁移限制带宽。哪个阶段会变长？",
        ),
        1,
        (
            ("the copy of the memory while the VM runs", "虚拟机运行时的内存复制"),
            (
                "Right. The stop comes once what is left fits into it, so it hardly changes.",
                "对。剩下的内存能在停顿里传完时才停，所以停顿几乎不变。",
            ),
        ),
        (
            ("the stop of the VM alone", "只有虚拟机的停顿"),
            (
                "The stop begins only when what is left is small enough for it.",
                "剩下的足够少，停顿才开始。",
            ),
        ),
        (
            ("both by the same factor", "两者按同样的倍数变长"),
            (
                "The stop is bounded: QEMU copies on until the rest fits.",
                "停顿有上限：QEMU 一直复制到剩余部分放得下为止。",
            ),
        ),
    ),
    ask(
        "07-rounds",
        (
            "A VM writes 48 MiB/s, and 64 MiB/s may move. How long is a later round of pre-copy?",
            "虚拟机每秒写 48 MiB，每秒最多搬 64 MiB。预复制后面的一轮有多长？",
        ),
        2,
        (
            (
                "as long as the first: all memory is copied again",
                "和第 1 轮一样长：全部内存再复制一遍",
            ),
            (
                "Only what was written meanwhile is copied again.",
                "只有期间写过的部分再复制一遍。",
            ),
        ),
        (
            ("about three quarters of the one before", "大约是上一轮的四分之三"),
            (
                "Right. In its time 48 MiB/s are written, and the next copies them at 64 MiB/s.",
                "对。它持续多久，就按每秒 48 MiB 写下多少，下一轮再以每秒 64 MiB 复制。",
            ),
        ),
        (
            (
                "as long as the one before: the VM never stops writing",
                "和上一轮一样长：虚拟机一直在写",
            ),
            (
                "That is so where it writes as fast as memory moves, and then there is no end.",
                "写得和搬得一样快时才是这样，那就没有尽头了。",
            ),
        ),
    ),
    ask(
        "07-pool",
        (
            "VMs with teamed VFs move between two hosts. What must the hosts' pools of VFs have in common?",
            "VF 与 virtio 组成 team 的虚拟机要在两台宿主机之间迁移。两边的 VF 池必须有什么相同？",
        ),
        3,
        (
            ("the number of VFs", "VF 的个数"),
            ("One free VF is enough for one VM.", "一台虚拟机有一个空闲的 VF 就够了。"),
        ),
        (
            ("the PCI addresses", "PCI 地址"),
            (
                "That is what a pool is for: the XML of the VM names none.",
                "池就是为此而设：虚拟机的 XML 里没有地址。",
            ),
        ),
        (
            ("their name", "名字"),
            (
                "Right: the VM's XML refers to the network by its name, on either host.",
                "对：虚拟机的 XML 在两台宿主机上都按名字引用这个网络。",
            ),
        ),
    ),
    ask(
        "07-sends",
        (
            "A teamed VM that sends all the time needs no remedy after its migration; one that only receives does. Why?",
            "组成 team 的虚拟机，一直在发送的迁移时不需要补救，只接收的需要。为什么？",
        ),
        2,
        (
            ("Sending is faster than receiving.", "发送比接收快。"),
            (
                "Speed is not the matter: ask who has to learn where the VM is.",
                "与快慢无关：想想谁需要知道虚拟机在哪里。",
            ),
        ),
        (
            (
                "Its own packets teach the bridge where it is now.",
                "它自己发的数据包让网桥知道它现在在哪里。",
            ),
            (
                "Right: without them the bridge keeps the old entry until something announces the VM.",
                "对：没有这些包，网桥会保留旧条目，直到有谁通告虚拟机的新位置。",
            ),
        ),
        (
            ("The VF stays plugged in.", "VF 一直插着。"),
            (
                "It is unplugged in either case before the memory is copied to its end.",
                "两种情况下，VF 都在内存复制结束之前拔掉。",
            ),
        ),
    ),
    ask(
        "07-names",
        (
            "Why does host B have a bridge and networks of the same names as host A?",
            "为什么宿主机 B 的网桥和网络与宿主机 A 同名？",
        ),
        1,
        (
            (
                "The VM's XML names them, and goes with the VM.",
                "虚拟机的 XML 里写着它们的名字，而 XML 随虚拟机一起过去。",
            ),
            (
                "Right: what an XML names has to be there on arrival.",
                "对：XML 里写的东西，到达时必须在那里。",
            ),
        ),
        (
            ("Else libvirt would not connect to host B.", "否则 libvirt 连不上宿主机 B。"),
            (
                "It connects to any; it refuses when the VM's bridge is missing there.",
                "哪里都能连；是虚拟机的网桥在那边不存在时才拒绝。",
            ),
        ),
        (
            ("So that both have one clock.", "为了让两边共用一个时钟。"),
            ("They have it because they share a kernel.", "共用时钟是因为它们在同一个内核里。"),
        ),
    ),
    ask(
        "07-chip",
        (
            "What is it about a VF that cannot move to another host?",
            "VF 的什么东西无法移到另一台宿主机？",
        ),
        2,
        (
            ("its MAC address", "MAC 地址"),
            ("A MAC is set anew in a moment, on any VF.", "MAC 可以马上在任何 VF 上重新设置。"),
        ),
        (
            (
                "what its driver has programmed into this host's chip, which QEMU cannot read",
                "驱动写进这台宿主机芯片里的状态，QEMU 读不出来",
            ),
            (
                "Right: unless the vendor's driver can save and load it.",
                "对：除非厂商的驱动能保存和装载它。",
            ),
        ),
        (
            ("the VM's memory, since it is pinned", "虚拟机的内存，因为被锁定了"),
            (
                "Pinned memory can be read and copied as any other.",
                "锁定的内存照样可以读、可以复制。",
            ),
        ),
    ),
    ask(
        "07-begin",
        (
            "The VM in a team only receives. When does its hole begin?",
            "组成 team 的虚拟机只接收数据。空洞从什么时候开始？",
        ),
        1,
        (
            ("when the VF is unplugged", "VF 被拔走的时候"),
            (
                "Right: the bridge still believes the MAC to be beyond its port.",
                "对：网桥仍以为那个 MAC 在网口那一边。",
            ),
        ),
        (
            ("when the VM stops", "虚拟机停住的时候"),
            (
                "That is the downtime; the figure shows packets lost long before.",
                "那是停机时间；图上丢包早得多。",
            ),
        ),
        (
            ("when host B plugs in its VF", "宿主机 B 插上 VF 的时候"),
            (
                "By then the VM has announced itself, and the hole is over.",
                "那时虚拟机已经通告了自己，空洞已经结束。",
            ),
        ),
    ),
    ask(
        "07-announce",
        (
            "You run the notebook with `-p REMEDY=announce-self`. What is different from `no-learning`?",
            "用 `-p REMEDY=announce-self` 运行本篇。与 `no-learning` 有什么不同？",
        ),
        3,
        (
            ("The hole is as long as without a remedy.", "空洞和不补救时一样长。"),
            ("The bridge is corrected seconds earlier.", "网桥早几秒就被纠正了。"),
        ),
        (
            ("Nothing is lost.", "什么也不丢。"),
            ("The VM still stops, as with every remedy.", "虚拟机仍要停住，用哪种补救办法都一样。"),
        ),
        (
            (
                "There is a second, shorter hole: from the unplug until QEMU has announced the VM.",
                "多一个较短的空洞：从拔走 VF 到 QEMU 发出通告。",
            ),
            (
                "Right: it acts afterwards, where no-learning was there before.",
                "对：它是事后补救，而 no-learning 是事先准备。",
            ),
        ),
    ),
    ask(
        "07-ageing",
        (
            "The bridge forgets a MAC after 300 s by default. Why is a shorter time, such as 10 s, a poor remedy?",
            "网桥默认 300 秒后忘记一个 MAC。为什么缩短到 10 秒也不是好办法？",
        ),
        2,
        (
            ("The bridge would flood all the time.", "网桥会一直泛洪。"),
            ("It would forget only those who are silent for 10 s.", "它只会忘掉沉默了 10 秒的。"),
        ),
        (
            (
                "A VF is unplugged and the migration over before the bridge forgets.",
                "网桥还没忘，VF 已经拔走、迁移已经结束。",
            ),
            ("Right: unless the VM was silent for long before.", "对：除非虚拟机早就沉默了很久。"),
        ),
        (
            ("It cannot be set.", "无法设置。"),
            (
                "It can: `ip link set BRIDGE type bridge ageing_time …`.",
                "可以：`ip link set BRIDGE type bridge ageing_time …`。",
            ),
        ),
    ),
    ask(
        "07-macvtap",
        (
            "What does a VM give up that has a macvtap on a VF in place of the VF itself?",
            "虚拟机用 VF 上的 macvtap 代替 VF 本身，放弃了什么？",
        ),
        3,
        (
            ("its MAC", "MAC"),
            (
                "In mode passthrough the VF takes the VM's MAC.",
                "passthrough 模式下，VF 使用虚拟机的 MAC。",
            ),
        ),
        (
            ("migration", "热迁移"),
            (
                "On the contrary: there is nothing of the hardware in the VM.",
                "正相反：虚拟机里没有任何硬件的东西。",
            ),
        ),
        (
            (
                "part of what the VF gained: packets pass vhost again",
                "VF 的一部分好处：数据包又要经过 vhost",
            ),
            ("Right: short path below, virtio above.", "对：下面是短路径，上面是 virtio。"),
        ),
    ),
    ask(
        "07-vdpa",
        (
            "To the guest, what is the difference between VFIO migration and vDPA?",
            "对虚拟机来说，VFIO 迁移和 vDPA 有什么区别？",
        ),
        1,
        (
            (
                "With vDPA it sees a virtio NIC, with VFIO the vendor's VF.",
                "用 vDPA 看到的是 virtio 网卡，用 VFIO 看到的是厂商的 VF。",
            ),
            (
                "Right: vDPA needs no driver of the vendor in the guest.",
                "对：vDPA 不需要在虚拟机里装厂商驱动。",
            ),
        ),
        (
            ("none, they are two names for one thing", "没有区别，是同一件事的两个名字"),
            (
                "One moves the state of a VF, the other makes the NIC speak virtio.",
                "一个搬走 VF 的状态，另一个让网卡自己说 virtio。",
            ),
        ),
        (
            ("With VFIO it needs no NIC.", "用 VFIO 不需要网卡。"),
            ("It needs one of the same kind on both hosts.", "两台宿主机都要有同样的网卡。"),
        ),
    ),
)
