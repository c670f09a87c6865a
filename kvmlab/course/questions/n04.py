"""Questions of notebook 04."""

from __future__ import annotations

from typing import Final

from kvmlab.course.question import Question, ask

QUESTIONS: Final[tuple[Question, ...]] = (
    ask(
        "04-now",
        (
            "The table shows a port with `sriov_totalvfs` 7 and `sriov_numvfs` 0. How many VMs can get a VF of it right now?",
            "表里有一个网口，`sriov_totalvfs` 是 7，`sriov_numvfs` 是 0。现在能有几台虚拟机得到它的 VF？",
        ),
        1,
        (
            ("none", "一台也没有"),
            (
                "Right. VFs have to be created first; the next sections do that in two ways.",
                "对。要先创建 VF；下面两节各用一种办法。",
            ),
        ),
        (
            ("seven", "七台"),
            (
                "Seven are possible. None exists before somebody asks the PF's driver for it.",
                "最多可以有七个。但没有向 PF 的驱动要求之前，一个也不存在。",
            ),
        ),
        (
            ("one: the port itself", "一台：网口本身"),
            (
                "The port itself is the PF. A VM that gets it has the whole port, as in notebook 03.",
                "网口本身是 PF。把它交给虚拟机，就是第 03 篇的独占。",
            ),
        ),
    ),
    ask(
        "04-eight",
        (
            "`kvmlab.SriovVf(vfs=8)` is refused on the 82576. Why?",
            "在 82576 上，`kvmlab.SriovVf(vfs=8)` 被拒绝。为什么？",
        ),
        2,
        (
            ("The device has no room for eight.", "设备放不下八个。"),
            (
                "It has: the eighth place is the PF's own under Linux.",
                "放得下：在 Linux 下，第八个位置归 PF 自己。",
            ),
        ),
        (
            (
                "sriov_totalvfs reads 7: the driver keeps resources for the PF.",
                "sriov_totalvfs 是 7：驱动给 PF 留了资源。",
            ),
            (
                "Right. The kernel would answer a write of 8 with an error.",
                "对。写入 8 的话，内核会报错。",
            ),
        ),
        (
            ("SR-IOV allows odd numbers only.", "SR-IOV 只允许奇数。"),
            ("Any number up to the total.", "不超过总数的任何数都可以。"),
        ),
    ),
    ask(
        "04-vlan",
        (
            "With VLAN 7 on its VF, the VM did not reach the peer. Where was the tag added?",
            "VF 设了 VLAN 7，虚拟机就到不了对端。标签是在哪里加上的？",
        ),
        3,
        (
            ("in the guest", "在虚拟机里"),
            (
                "The guest sees untagged packets and knows nothing of it.",
                "虚拟机看到的是不带标签的数据包，并不知情。",
            ),
        ),
        (
            ("in the bridge", "在网桥里"),
            ("There is no bridge on the path.", "路径上没有网桥。"),
        ),
        (
            ("in the NIC, on the way out", "在网卡里，发出去的时候"),
            (
                "Right; the peer's port is in no VLAN and drops what is tagged.",
                "对；对端的网口不在任何 VLAN 里，带标签的都会丢弃。",
            ),
        ),
    ),
    ask(
        "04-rest",
        (
            "With a VF some CPU time of the host remains. Whose is it?",
            "用 VF 时，宿主机还有一些 CPU 时间。是谁的？",
        ),
        1,
        (
            (
                "the interrupts that KVM forwards, and here the peer's own receiving",
                "KVM 转发的中断，以及这里对端自己的接收",
            ),
            (
                "Right: the peer is on the same host, and is charged to whatever it interrupts.",
                "对：对端在同一台宿主机上，它的时间记在被它打断的线程上。",
            ),
        ),
        (
            ("a vhost worker's", "vhost 工作线程的"),
            ("There is none for a VF.", "VF 没有 vhost 工作线程。"),
        ),
        (
            ("QEMU's main loop", "QEMU 的主循环"),
            (
                "It sees no packet of a VF.",
                "VF 的数据包它一个也看不到。",
            ),
        ),
    ),
    ask(
        "04-published",
        (
            "`figures.published(vhost, virtual, baseline=port)` lays published figures over these. In what does the embedded host agree with them?",
            "`figures.published(vhost, virtual, baseline=port)` 把已发表的数据叠在上面。内嵌宿主机在哪一点上与之一致？",
        ),
        2,
        (
            ("in Gbit/s", "在 Gbit/s 上"),
            ("An emulated host has none to compare.", "模拟的宿主机没有可比的 Gbit/s。"),
        ),
        (
            ("a VF reaches about the speed of the bare port", "VF 大致达到裸网口的速度"),
            ("Right: as a share of its own bare metal.", "对：是相对于自己裸机的比例。"),
        ),
        (
            ("in nothing", "没有一点一致"),
            (
                "Compare shares, not speeds: the marks stand at shares of their own bare metal.",
                "要比的是比例，不是速度：标记是相对于各自裸机的比例。",
            ),
        ),
    ),
    ask(
        "04-address",
        (
            "The VFs of `0b:00.0` begin at `0b:10.0`, with a stride of 2. Where is the fifth?",
            "`0b:00.0` 的 VF 从 `0b:10.0` 开始，步长为 2。第五个在哪里？",
        ),
        3,
        (
            ("`0b:10.8`", "`0b:10.8`"),
            (
                "A slot has the functions 0 to 7 only: count on into the next slot.",
                "一个插槽只有功能 0 到 7：要接着数到下一个插槽。",
            ),
        ),
        (
            ("`0b:14.0`", "`0b:14.0`"),
            ("The stride counts functions, not slots.", "步长数的是功能，不是插槽。"),
        ),
        (
            ("`0b:11.0`", "`0b:11.0`"),
            (
                "Right: 10.0, 10.2, 10.4, 10.6, then the next slot.",
                "对：10.0、10.2、10.4、10.6，然后是下一个插槽。",
            ),
        ),
    ),
    ask(
        "04-autoprobe",
        (
            "Why does kvmlab switch `sriov_drivers_autoprobe` off before it creates VFs?",
            "kvmlab 为什么在创建 VF 之前关掉 `sriov_drivers_autoprobe`？",
        ),
        2,
        (
            ("VFs could not be created otherwise.", "否则无法创建 VF。"),
            (
                "They could; each would then be an interface of the host for a moment.",
                "可以创建；只是每个 VF 都会先变成宿主机的接口。",
            ),
        ),
        (
            (
                "Else the host's own igbvf would bind to each of them.",
                "否则宿主机自己的 igbvf 会绑定每一个。",
            ),
            (
                "Right: a VF without a driver waits for its VM.",
                "对：没有驱动的 VF 等着它的虚拟机。",
            ),
        ),
        (
            ("It saves memory.", "为了省内存。"),
            ("It is about who drives a VF, not about its size.", "问题是由谁驱动 VF，与大小无关。"),
        ),
    ),
    ask(
        "04-pool-xml",
        (
            "Twenty VMs are to run on any of four hosts with VFs. Which form of the XML fits all hosts?",
            "二十台虚拟机要能在四台带 VF 的宿主机中任意一台上运行。哪种写法适合所有宿主机？",
        ),
        3,
        (
            (
                "`<interface type='hostdev'>` with an address",
                "带地址的 `<interface type='hostdev'>`",
            ),
            (
                "It names one VF, which another VM may have on the next host.",
                "它写死了一个 VF，在下一台宿主机上可能已经被占用。",
            ),
        ),
        (
            ("a plain `<hostdev>`", "普通的 `<hostdev>`"),
            ("The same, and without a MAC.", "同样写死，而且没有 MAC。"),
        ),
        (
            ("an interface of a network that is a pool of VFs", "接口取自一个作为 VF 池的网络"),
            (
                "Right: it names a network, and libvirt takes a free VF.",
                "对：它写的是网络，由 libvirt 取一个空闲的 VF。",
            ),
        ),
    ),
    ask(
        "04-faster",
        (
            "The throughput of a VF is 1.1 times that of the port it belongs to. Is a VF faster than its port?",
            "VF 的吞吐量是它所属网口的 1.1 倍。VF 比网口快吗？",
        ),
        1,
        (
            (
                "No: both ends share one CPU here, and the port's sender takes more of it.",
                "不是：这里两端共用一个 CPU，用网口发送时占用得更多。",
            ),
            (
                "Right. Ask of a ratio what is divided by what.",
                "对。看到比值，要问是什么除以什么。",
            ),
        ),
        (
            ("Yes: it has queues of its own.", "是：它有自己的队列。"),
            (
                "So has the port; and every packet leaves by the same cable.",
                "网口也有；而且数据包都从同一根网线出去。",
            ),
        ),
        (
            ("It is chance.", "是偶然。"),
            (
                "Its interval excludes 1: repeat it, and it comes out again.",
                "它的区间不含 1：重复测量，结果还是这样。",
            ),
        ),
    ),
    ask(
        "04-trap",
        (
            "A bridge stands on a PF that has VFs, on this host. Why does the VM behind the bridge lose its packets?",
            "在这台宿主机上，网桥建在有 VF 的 PF 上。为什么网桥后面的虚拟机收不到包？",
        ),
        2,
        (
            ("The VF has taken its MAC.", "VF 占用了它的 MAC。"),
            (
                "The VF has a MAC of its own; nothing about it is wrong.",
                "VF 有自己的 MAC，没有问题。",
            ),
        ),
        (
            (
                "Its broadcasts come back at the port, and the bridge learns that it is out there.",
                "它的广播从网口又回来了，网桥就以为它在外面。",
            ),
            (
                "Right. A bridge never sends a packet back to where it came from.",
                "对。网桥从不把数据包发回它来的地方。",
            ),
        ),
        (
            ("The PF is down.", "PF 没有启用。"),
            ("It is up, and its own addresses answer.", "它启用着，自己的地址也有应答。"),
        ),
    ),
    ask(
        "04-reboot",
        (
            "After a reboot of a server, VMs with VFs do not start. What is missing?",
            "服务器重启后，用 VF 的虚拟机启动不了。缺了什么？",
        ),
        1,
        (
            ("The VFs: nobody wrote `sriov_numvfs`.", "缺 VF：没有谁去写 `sriov_numvfs`。"),
            (
                "Right: have systemd or NetworkManager do it at boot, before libvirt.",
                "对：让 systemd 或 NetworkManager 在开机时、libvirt 之前完成。",
            ),
        ),
        (
            ("The IOMMU, which has to be switched on each time.", "缺 IOMMU，每次都要打开。"),
            ("It is an option of the kernel, and stays.", "那是内核的启动选项，会保留。"),
        ),
        (
            ("The driver igbvf on the host.", "缺宿主机上的 igbvf 驱动。"),
            (
                "The VM drives the VF; the host's igbvf would only be in the way.",
                "驱动 VF 的是虚拟机；宿主机的 igbvf 反而碍事。",
            ),
        ),
    ),
)
