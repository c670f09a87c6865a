"""Questions of notebook 01."""

from __future__ import annotations

from typing import Final

from kvmlab.course.question import Question, ask

QUESTIONS: Final[tuple[Question, ...]] = (
    ask(
        "01-second",
        (
            "Under the virtual clock a round trip takes 35 µs. What does that say about a server?",
            "在虚拟时钟下，一次往返是 35 µs。这对一台服务器说明什么？",
        ),
        3,
        (
            ("There it takes 35 µs as well.", "在那里也是 35 µs。"),
            (
                "A server's CPU spends no fixed time on an instruction, and its NIC and its cable take time of their own.",
                "服务器的 CPU 执行每条指令的时间并不固定，网卡和网线也各自要花时间。",
            ),
        ),
        (
            ("Nothing at all.", "什么也说明不了。"),
            (
                "The programs on the path are those of a server: a scheme that has less to do here has less to do there.",
                "路径上的程序和服务器上的是同一套：在这里要做的事更少的方案，在那里也更少。",
            ),
        ),
        (
            (
                "How much software is on the path: at 2 ns each, 17,500 instructions.",
                "路径上有多少软件：每条指令 2 ns，一共 17,500 条。",
            ),
            (
                "Right. So compare ratios and counts with a server, and leave out the seconds.",
                "对。所以和服务器比较时，比的是比值和计数，不是秒数。",
            ),
        ),
    ),
    ask(
        "01-kick",
        (
            "virtio's notification is a VM exit as well. Why is it cheaper than a register access of the e1000?",
            "virtio 的通知也是一次 VM 退出。为什么比访问 e1000 的寄存器便宜？",
        ),
        2,
        (
            ("It does not leave the guest.", "它不离开虚拟机。"),
            (
                "It does: the counter of exits shows it. What matters is how far it goes.",
                "会离开：退出计数里看得到。关键是走多远。",
            ),
        ),
        (
            (
                "KVM answers it by signalling an ioeventfd, and the vCPU goes on at once.",
                "KVM 给 ioeventfd 发信号就处理完了，vCPU 马上继续。",
            ),
            (
                "Right: there is no exit to user space, and the guest does not wait for the work.",
                "对：没有退出到用户态，虚拟机也不用等待处理完成。",
            ),
        ),
        (
            ("QEMU answers it faster.", "QEMU 处理得更快。"),
            (
                "QEMU's vCPU code never sees it.",
                "QEMU 的 vCPU 代码根本看不到它。",
            ),
        ),
    ),
    ask(
        "01-trials",
        (
            "With `TRIALS` set to 1, what becomes of the whiskers and of the claims?",
            "把 `TRIALS` 设成 1，须线和论断会怎样？",
        ),
        3,
        (
            ("Nothing; the medians stay.", "没有变化，中位数还在。"),
            (
                "The bars stay, but from one value nobody knows how far the next would be.",
                "柱子还在，但只凭一个值，没人知道下一个会差多远。",
            ),
        ),
        (
            ("The whiskers become short.", "须线变短。"),
            (
                "Fewer trials make an interval wider, not narrower.",
                "次数越少，区间越宽，而不是越窄。",
            ),
        ),
        (
            (
                "There are none, and every claim is inconclusive.",
                "没有须线，所有论断都无法定论。",
            ),
            (
                "Right: an interval needs at least two values.",
                "对：区间至少要两个值。",
            ),
        ),
    ),
    ask(
        "01-msi",
        (
            "The e1000e has message-signalled interrupts (MSI). Which cost goes down?",
            "e1000e 有消息信号中断（MSI）。哪一种开销会减少？",
        ),
        1,
        (
            (
                "register accesses that find out and acknowledge an interrupt's cause",
                "查明并确认中断原因的寄存器访问",
            ),
            (
                "Right: a message says by itself whose it is, and need not be shared or cleared as a line must.",
                "对：消息本身说明了来源，不像中断线那样要共享和清除。",
            ),
        ),
        (
            ("the number of packets", "数据包的个数"),
            (
                "Packets are the peer's and the stream's; the NIC does not change them.",
                "数据包由对端和流决定，网卡改变不了。",
            ),
        ),
        (
            ("the copies of the data", "数据的拷贝"),
            (
                "QEMU copies with either NIC.",
                "两种网卡都由 QEMU 拷贝。",
            ),
        ),
    ),
    ask(
        "01-pps",
        (
            "Small UDP packets cost far more exits each than packets of the TCP stream. Why?",
            "小的 UDP 数据包，每个的退出远多于 TCP 流的数据包。为什么？",
        ),
        2,
        (
            ("UDP has no checksums.", "UDP 没有校验和。"),
            ("It has them, and they cost no exit.", "有，而且不产生退出。"),
        ),
        (
            (
                "TSO does not apply: each is handed over by itself.",
                "用不上 TSO：每个数据包单独交出。",
            ),
            (
                "Right. 64 KiB of the stream leave with one descriptor chain.",
                "对。流的 64 KiB 用一串描述符就交出去了。",
            ),
        ),
        (
            ("The peer answers each of them.", "对端每个都要回答。"),
            (
                "It only counts them; TCP is what is acknowledged.",
                "对端只计数；要确认的是 TCP。",
            ),
        ),
    ),
    ask(
        "01-register",
        (
            "The guest writes to a register of the e1000. Who works out what the NIC does now, and where?",
            "虚拟机写 e1000 的一个寄存器。由谁、在哪里算出网卡该做什么？",
        ),
        1,
        (
            (
                "QEMU, on the vCPU's own thread, while the guest stands still",
                "QEMU，就在 vCPU 自己的线程上，这时虚拟机停着",
            ),
            (
                "Right: that is why each access is paid by the guest.",
                "对：所以每次访问都由虚拟机付出代价。",
            ),
        ),
        (
            ("KVM, inside the kernel", "KVM，在内核里"),
            (
                "KVM knows interrupt controllers and timers, no NICs: it hands the access to QEMU.",
                "KVM 认得中断控制器和定时器，不认得网卡：它把访问交给 QEMU。",
            ),
        ),
        (
            ("QEMU's main loop, while the guest goes on", "QEMU 的主循环，虚拟机继续运行"),
            (
                "A driver that reads a register needs the answer before its next instruction.",
                "驱动读寄存器时，要先得到答案才能执行下一条指令。",
            ),
        ),
    ),
    ask(
        "01-box",
        (
            "Both NICs are on the same tap, bridge and port. What is different on the two paths?",
            "两块网卡用的是同样的 tap、网桥和网口。两条路径有什么不同？",
        ),
        2,
        (
            ("nothing: the pictures are equal", "没有不同：两张图一样"),
            (
                "The boxes are the same. Look at the table below them: which thread brought the packet?",
                "方框一样。看下面的表：是哪个线程送来的数据包？",
            ),
        ),
        (
            ("the thread that brings the packet to the tap", "把数据包送到 tap 的线程"),
            (
                "Right: the vCPU's own with the e1000, another one of QEMU with virtio.",
                "对：e1000 用 vCPU 自己的线程，virtio 用 QEMU 的另一个线程。",
            ),
        ),
        (
            ("the bridge, which is left out with virtio", "virtio 不经过网桥"),
            (
                "It is in both pictures; macvtap leaves it out, in notebook 02.",
                "两张图里都有它；不用网桥的是 02 篇的 macvtap。",
            ),
        ),
    ),
    ask(
        "01-ping",
        (
            "Why is virtio's gain in latency smaller than in throughput?",
            "为什么 virtio 在延迟上的收获比吞吐量小？",
        ),
        3,
        (
            ("A ping is too small for virtio.", "ping 对 virtio 来说太小。"),
            ("A virtqueue takes buffers of any size.", "virtqueue 接受任何大小的缓冲区。"),
        ),
        (
            ("Round trips are limited by the cable.", "往返受网线限制。"),
            ("The cable is the same for both, and short.", "两者的网线一样，而且很短。"),
        ),
        (
            (
                "A ping shares its notification and its wake-up with no other packet.",
                "一个 ping 没有别的数据包与它分担通知和唤醒。",
            ),
            ("Right: in a stream dozens of frames share them.", "对：在数据流里，由几十个帧分担。"),
        ),
    ),
)
