"""Questions of notebook 06."""

from __future__ import annotations

from typing import Final

from kvmlab.course.question import Question, ask

QUESTIONS: Final[tuple[Question, ...]] = (
    ask(
        "06-facts",
        (
            "`facts` is read here, and further below a NIC is plugged in. Does `facts` show that NIC then?",
            "`facts` 在这里读取，后面才插入网卡。那时 `facts` 里有这块网卡吗？",
        ),
        2,
        (
            ("Yes: it reads the host whenever it is asked.", "有：每次用到它都会去读宿主机。"),
            (
                "It is a value that no longer changes. What it says was true when it was read.",
                "它是不再改变的值，说的是读取时的情况。",
            ),
        ),
        (
            ("No: it is the host of this moment.", "没有：它是此刻的宿主机。"),
            (
                "Right. Advice for a host that has changed needs another `lab.inspect()`.",
                "对。宿主机改变之后要再给建议，就得再做一次 `lab.inspect()`。",
            ),
        ),
        (
            ("Only after the notebook was restarted.", "要重启笔记本之后才有。"),
            (
                "Another `lab.inspect()` in the same notebook is enough.",
                "在同一个笔记本里再做一次 `lab.inspect()` 就够了。",
            ),
        ),
    ),
    ask(
        "06-layers",
        (
            "Which count explains the steps between the schemes best?",
            "哪一种计数最能解释各方案之间的差距？",
        ),
        2,
        (
            ("the devices on the path", "路径上的设备数"),
            (
                "e1000, virtio and vhost pass the same devices, and differ several times over.",
                "e1000、virtio 和 vhost 经过的设备相同，代价却相差几倍。",
            ),
        ),
        (
            (
                "crossings by their kind: exits to QEMU, wake-ups, copies",
                "按种类数穿越：退出到 QEMU、唤醒、拷贝",
            ),
            (
                "Right: each scheme that gained much removed the dearest kind that was left.",
                "对：收获大的方案，都去掉了当时还剩下的最贵的一种。",
            ),
        ),
        (
            ("the bytes of a packet", "数据包的字节数"),
            ("They are the same for all.", "所有方案都一样。"),
        ),
    ),
    ask(
        "06-teaming",
        (
            "For `-p LOAD=latency -p MIGRATION=true` the adviser's XML contains two interfaces with one MAC. What for?",
            "对 `-p LOAD=latency -p MIGRATION=true`，选型顾问的 XML 里有两个 MAC 相同的接口。为什么？",
        ),
        1,
        (
            (
                "A VF for speed, and a virtio NIC that takes over while the VM migrates.",
                "VF 用来求快，virtio 网卡在热迁移时接手。",
            ),
            (
                "Right: a teaming pair; the guest's driver joins them by the MAC.",
                "对：这是组成 team 的一对；虚拟机的驱动靠 MAC 把它们合在一起。",
            ),
        ),
        (
            ("Twice the throughput.", "吞吐量翻倍。"),
            (
                "Only one of them carries traffic at a time.",
                "同一时刻只有一个在传输。",
            ),
        ),
        (
            ("It is a mistake.", "写错了。"),
            (
                "On a bridge it would be; here the element `<teaming>` says that it is meant.",
                "在网桥上是错的；这里的 `<teaming>` 元素说明是有意的。",
            ),
        ),
    ),
    ask(
        "06-trials",
        (
            "With `-p TRIALS=2` the adviser has reasons that it had not with one trial. Which?",
            "用 `-p TRIALS=2` 时，选型顾问多了一些理由。是哪一种？",
        ),
        3,
        (
            ("rules from the literature", "来自文献的规则"),
            (
                "They are there in any case, each with its source.",
                "这些一直都有，各有出处。",
            ),
        ),
        (
            ("properties of the guest", "虚拟机的特性"),
            (
                "These are your own answers to its questions.",
                "那是你自己对问题的回答。",
            ),
        ),
        (
            (
                "measurements whose interval excludes chance",
                "区间排除了偶然性的测量结果",
            ),
            (
                "Right: one trial has no interval, so it counts for nothing.",
                "对：一次测试没有区间，所以不算数。",
            ),
        ),
    ),
    ask(
        "06-own",
        (
            "You pass `lab.inspect()` of your own server to `kvmlab.advise`. What does that change there?",
            "把自己服务器的 `lab.inspect()` 交给 `kvmlab.advise`。会改动那台服务器吗？",
        ),
        2,
        (("It loads modules.", "会加载模块。"), ("An inspection reads only.", "检查只读。")),
        (
            ("nothing", "不会"),
            (
                "Right. What is ruled out is named with its rule, which `kvmlab doctor` explains.",
                "对。被排除的方案都写明规则，`kvmlab doctor` 有解释。",
            ),
        ),
        (
            ("It makes VFs.", "会建 VF。"),
            (
                "Only an applied plan does, and only with your yes.",
                "只有应用计划时才会，而且要你同意。",
            ),
        ),
    ),
    ask(
        "06-grey",
        (
            "The grey part of a packet's cost is about the same in all rows. Why does a VF not make it smaller?",
            "一个数据包开销里的灰色部分，各行差不多。为什么 VF 不能让它变小？",
        ),
        2,
        (
            ("VFs are slow to set up.", "VF 的建立很慢。"),
            (
                "A VF is set up once; the bars are per packet.",
                "VF 只建立一次；条形是按数据包算的。",
            ),
        ),
        (
            (
                "It is the guest's own work: its TCP stack runs whatever carries the packet.",
                "那是虚拟机自己的工作：不管由什么承载，它的 TCP 协议栈都要运行。",
            ),
            (
                "Right: a scheme can only save what it adds.",
                "对：方案能省的只是它自己加上的那部分。",
            ),
        ),
        (
            ("It is the peer's.", "那是对端的。"),
            (
                "The peer's work is not in the VM's bars by its own name.",
                "对端的工作不在虚拟机的条形里。",
            ),
        ),
    ),
    ask(
        "06-migrates",
        (
            "A VM has to migrate without effort, and to talk to its host over the same NIC. Which scheme?",
            "虚拟机要能轻松热迁移，还要经过同一块网卡与宿主机互通。选哪个方案？",
        ),
        1,
        (
            ("virtio with vhost, on a bridge", "网桥上的 virtio，用 vhost"),
            (
                "Right: both columns say yes, and QEMU is off the path.",
                "对：两列都是肯定的，而且路径上没有 QEMU。",
            ),
        ),
        (
            ("macvtap", "macvtap"),
            (
                "It migrates, and cuts host and VM off from each other.",
                "它能迁移，但宿主机和虚拟机互不相通。",
            ),
        ),
        (
            ("a VF", "VF"),
            (
                "It talks through the NIC's switch, and does not migrate as it is.",
                "它可以经网卡里的交换互通，但不能直接热迁移。",
            ),
        ),
    ),
    ask(
        "06-share",
        (
            "Why are the published figures compared as shares of their own bare metal?",
            "为什么与已发表的数据比较时，用各自占物理机的份额？",
        ),
        3,
        (
            ("Nobody publishes Gbit/s.", "没有人发表 Gbit/s。"),
            (
                "They do, and for other NICs, CPUs and years than yours.",
                "有人发表，但网卡、CPU 和年代都与你的不同。",
            ),
        ),
        (
            ("Shares are easier to draw.", "份额更容易画。"),
            (
                "They are easy to draw, but why would that make them comparable?",
                "是容易画，但这并不能使它们可比。",
            ),
        ),
        (
            (
                "The machines differ by far more than the schemes do.",
                "机器之间的差别远大于方案之间的差别。",
            ),
            (
                "Right: dividing by the bare port takes the machine out, as far as it goes.",
                "对：除以裸网口，就尽量去掉了机器的影响。",
            ),
        ),
    ),
    ask(
        "06-windows",
        (
            "What has become of the article's advice to give Windows guests an e1000 under light load?",
            "原文建议轻负载的 Windows 虚拟机用 e1000。现在如何？",
        ),
        2,
        (
            ("It still holds, for every NetKVM.", "仍然成立，对任何 NetKVM 都是。"),
            (
                "The interruptions were those of early versions of the driver.",
                "那些短暂中断是驱动早期版本的问题。",
            ),
        ),
        (
            (
                "It is out of date: a current NetKVM driver is the usual choice, and the e1000e the fallback.",
                "已经过时：现在通常用新版 NetKVM，备选是 e1000e。",
            ),
            (
                "Right: and before changing the NIC, try LSO off in the guest.",
                "对：换网卡之前，先试试在虚拟机里关掉 LSO。",
            ),
        ),
        (
            ("Windows has no virtio driver.", "Windows 没有 virtio 驱动。"),
            ("It has: NetKVM, from the package virtio-win.", "有：virtio-win 软件包里的 NetKVM。"),
        ),
    ),
    ask(
        "06-remains",
        ("Which sentence of the article is out of date?", "原文的哪句话已经过时？"),
        3,
        (
            (
                "An emulated NIC costs an exit for each access to a register.",
                "全虚拟化网卡每次访问寄存器都要一次退出。",
            ),
            ("It does, and that can be counted.", "的确如此，而且可以数出来。"),
        ),
        (
            (
                "A VF has the shortest path of all that can be shared.",
                "在可以共用的方案里，VF 的路径最短。",
            ),
            ("It still has: look at its row in the table.", "现在仍然如此：看表里它那一行。"),
        ),
        (
            ("vhost has to be configured.", "vhost 需要配置。"),
            (
                "Right: libvirt takes it by itself where it can, and says nothing where it cannot.",
                "对：能用时 libvirt 自己就用，不能用时也不说。",
            ),
        ),
    ),
)
