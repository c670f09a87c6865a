"""Questions of notebook 03."""

from __future__ import annotations

from typing import Final

from kvmlab.course.question import Question, ask

QUESTIONS: Final[tuple[Question, ...]] = (
    ask(
        "03-alone",
        (
            "A VM gets `p1p1` as a whole. Who can still send through this port on the host's side?",
            "虚拟机独占了 `p1p1`。宿主机这边还有谁能从这个网口发送？",
        ),
        3,
        (
            ("the host itself", "宿主机自己"),
            (
                "The host's driver has to let go of the function, and its interface goes with the driver.",
                "宿主机的驱动必须放开这个功能，接口也随驱动一起消失。",
            ),
        ),
        (
            ("other VMs, over a bridge on `p1p1`", "别的虚拟机，经过建在 `p1p1` 上的网桥"),
            (
                "A bridge needs an interface of the host, and there is none left.",
                "网桥需要宿主机的接口，而接口已经没有了。",
            ),
        ),
        (
            ("nobody", "没有谁"),
            (
                "Right. Therefore this notebook has a cable that nobody else needs.",
                "对。所以本篇另有一条别人用不着的网线。",
            ),
        ),
    ),
    ask(
        "03-group",
        (
            "Two functions share an IOMMU group. May the VM have one and the host keep the other?",
            "两个功能在同一个 IOMMU 组里。可以一个给虚拟机，另一个留给宿主机吗？",
        ),
        2,
        (
            (
                "Yes, the IOMMU separates their memory.",
                "可以，IOMMU 会隔开它们的内存。",
            ),
            (
                "It sees what passes it. Peer-to-peer DMA inside a device does not.",
                "它只看得到经过它的访问。设备内部的点对点 DMA 不经过它。",
            ),
        ),
        (
            (
                "No: through its own, the VM could reach the other, and with it the host's memory.",
                "不可以：虚拟机可以经过自己的功能够到另一个，再够到宿主机的内存。",
            ),
            (
                "Right; so the kernel assigns the whole group or none of it.",
                "对；所以内核要么交出整个组，要么一个也不交。",
            ),
        ),
        (
            ("Yes, with pcie_acs_override.", "可以，用 pcie_acs_override。"),
            (
                "That only makes the kernel report smaller groups. The hole stays.",
                "那只是让内核报告更小的组。漏洞还在。",
            ),
        ),
    ),
    ask(
        "03-mgmt",
        (
            'What would happen if `kvmlab.PciPassthrough("mgmt0")` were not refused?',
            '假如 `kvmlab.PciPassthrough("mgmt0")` 没有被拒绝，会发生什么？',
        ),
        3,
        (
            (
                "libvirt would refuse it.",
                "libvirt 会拒绝。",
            ),
            (
                "libvirt does not know over which port you are connected.",
                "libvirt 不知道你是从哪个网口连进来的。",
            ),
        ),
        (
            ("The VM would see two NICs.", "虚拟机会看到两块网卡。"),
            (
                "It would, and nobody would be there to look.",
                "会的，但没有人还能去看。",
            ),
        ),
        (
            (
                "Your own connection would go, and nobody could undo it from here.",
                "你自己的连接会断开，从这里再也撤销不了。",
            ),
            (
                "Right: hence the guard looks at the connection itself.",
                "对：所以保护机制检查的是连接本身。",
            ),
        ),
    ),
    ask(
        "03-pinned",
        (
            "Why must all memory of a VM with a passed-through NIC stay in RAM?",
            "为什么直通网卡的虚拟机，全部内存都必须留在 RAM 里？",
        ),
        1,
        (
            (
                "The NIC may write to any page at any time, and cannot wait for a page to be read back.",
                "网卡随时可能写任何一页，它等不了换页。",
            ),
            (
                "Right: no overcommitment, no ballooning, no swapping.",
                "对：不能超配，不能用 balloon，不能换出。",
            ),
        ),
        (
            ("The guest's driver asks for it.", "虚拟机的驱动要求这样。"),
            (
                "The driver knows nothing of the host's memory.",
                "驱动不知道宿主机的内存。",
            ),
        ),
        (
            ("It makes the VM faster.", "这样虚拟机更快。"),
            (
                "It may, but it is a need of DMA and no tuning.",
                "也许会，但这是 DMA 的要求，不是调优。",
            ),
        ),
    ),
    ask(
        "03-mtu",
        (
            "Set the MTU of p1p1 to 1400, then assign and return the port. Which MTU has it afterwards?",
            "把 p1p1 的 MTU 设为 1400，再把网口交出去、收回来。之后 MTU 是多少？",
        ),
        2,
        (
            ("1500: a new interface has the default", "1500：新接口用默认值"),
            (
                "So it would be with libvirt alone; kvmlab remembers the settings before.",
                "只用 libvirt 会是这样；kvmlab 事先记下了设置。",
            ),
        ),
        (
            ("1400, as before", "1400，和之前一样"),
            (
                "Right: name, MAC, MTU, addresses and state are journalled and put back. What `ethtool -K` sets is not: the notes of the plan say so.",
                "对：名字、MAC、MTU、地址和启用状态都记入日志并恢复。`ethtool -K` 的设置不在其中，计划的说明里写着。",
            ),
        ),
        (
            ("that of the guest", "虚拟机里的值"),
            (
                "The guest's setting goes with the guest's driver.",
                "虚拟机的设置随它的驱动一起消失。",
            ),
        ),
    ),
    ask(
        "03-guest",
        (
            "In the figure of costs the guest's part has hardly changed with passthrough. Why?",
            "开销图里，直通之后虚拟机自己的部分几乎没变。为什么？",
        ),
        1,
        (
            (
                "Its stack does the same work, whichever driver is below it.",
                "不管下面是哪个驱动，它的协议栈做的事一样。",
            ),
            ("Right: no scheme can save that part.", "对：没有方案能省掉这一部分。"),
        ),
        (
            ("The counter cannot see the guest.", "计数器看不到虚拟机。"),
            (
                "It counts the time that the CPU spends in non-root mode.",
                "它数的就是 CPU 处于非根模式的时间。",
            ),
        ),
        (
            ("The guest is idle.", "虚拟机是空闲的。"),
            ("An idle CPU is not counted.", "空闲的 CPU 不计入。"),
        ),
    ),
    ask(
        "03-function",
        ("What does a `<hostdev>` name?", "`<hostdev>` 写的是什么？"),
        2,
        (
            ("the interface, such as p1p1", "接口，例如 p1p1"),
            (
                "The interface belongs to the host's driver, and is gone once VFIO has the function.",
                "接口属于宿主机的驱动，功能交给 VFIO 之后它就没有了。",
            ),
        ),
        (
            ("the PCI function: domain, bus, slot, function", "PCI 功能：域、总线、插槽、功能号"),
            (
                "Right: the interface is only the last link of its chain.",
                "对：接口只是那条链的最后一环。",
            ),
        ),
        (
            ("the MAC address", "MAC 地址"),
            (
                "The NIC has one of its own, which a plain `<hostdev>` does not touch.",
                "网卡有自己的 MAC，普通的 `<hostdev>` 不会动它。",
            ),
        ),
    ),
    ask(
        "03-back",
        (
            "A port comes back from a VM with its name, and without its address. What has removed the address?",
            "一个网口从虚拟机回来，名字还在，地址没了。是谁去掉的？",
        ),
        3,
        (
            ("the guest, when it configured the NIC", "虚拟机，在它配置网卡的时候"),
            (
                "A guest configures its own interface; the host's was gone by then.",
                "虚拟机配置的是自己的接口；那时宿主机的接口已经不存在。",
            ),
        ),
        (
            ("the reset of the function", "功能的复位"),
            (
                "A reset clears registers; addresses are kept by the kernel, not by the NIC.",
                "复位清的是寄存器；地址由内核保存，不在网卡里。",
            ),
        ),
        (
            (
                "nobody: it is a new interface, of which the kernel knows nothing",
                "没有谁：这是一个新接口，内核对它一无所知",
            ),
            (
                "Right. kvmlab notes the settings before, and restores them.",
                "对。kvmlab 事先记下设置，之后恢复。",
            ),
        ),
    ),
    ask(
        "03-margin",
        (
            "Why do the claims about the TCP stream only ask that passthrough be no worse than vhost?",
            "为什么关于 TCP 流的论断只要求直通不比 vhost 差？",
        ),
        1,
        (
            (
                "In a stream vhost shares its wake-ups among many packets: little is left to save.",
                "在数据流里，vhost 的唤醒由许多数据包分担：没有多少可省。",
            ),
            (
                "Right. A ping has to pay them alone, and shows the difference.",
                "对。ping 要独自承担，差别就显出来了。",
            ),
        ),
        (
            ("TCP cannot use passthrough.", "TCP 用不了直通。"),
            ("It does not know what carries it.", "TCP 不知道是什么在承载它。"),
        ),
        (
            ("The NIC here is older.", "这里的网卡更旧。"),
            (
                "Both schemes use the same port; what differs is who drives it.",
                "两个方案用的是同一个网口；不同的是由谁驱动。",
            ),
        ),
    ),
)
