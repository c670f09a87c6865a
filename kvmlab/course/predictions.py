"""The predictions of the course: what is asked before a comparison, what a wrong guess suggests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kvmlab.course.bilingual import Bilingual


@dataclass(frozen=True)
class PredictedRatio:
    """A ratio to guess before it is measured.

    ``above`` answers a guess that is larger than the result, ``below`` a smaller one; ``close`` says
    what is behind the result.
    """

    id: str
    question: Bilingual
    above: Bilingual
    below: Bilingual
    close: Bilingual


PREDICTIONS: Final = (
    PredictedRatio(
        "01-exits",
        Bilingual(
            "The e1000 stops the vCPU at each register access, virtio at each notification. Exits for the NIC of one packet of a TCP stream: virtio needs how many times as many as the e1000?",
            "e1000 每次访问寄存器都会让 vCPU 停下，virtio 只在每次通知时停下。TCP 流的一个数据包为网卡付出的退出：virtio 是 e1000 的多少倍？",
        ),
        above=Bilingual(
            "You expected more exits of virtio. Did you count a notification for each packet? One serves dozens of frames, and while the back end is busy the guest need not notify at all.",
            "你以为 virtio 的退出更多。是不是按每个数据包一次通知来算的？一次通知服务几十个帧；后端忙的时候，虚拟机根本不必通知。",
        ),
        below=Bilingual(
            "You expected even fewer. The notification is left: it is an exit too, only a short one that KVM answers by itself.",
            "你以为还会更少。通知还在：它也是一次退出，只是很短，由 KVM 自己处理。",
        ),
        close=Bilingual(
            "Rings in shared memory take the place of registers; what is left is one notification for many packets.",
            "共享内存里的环取代了寄存器；剩下的是许多数据包共用的一次通知。",
        ),
    ),
    PredictedRatio(
        "02-latency",
        Bilingual(
            "vhost moves the back end from QEMU into the kernel; the NIC in the VM stays the same. A round trip with vhost takes how many times as long as one with QEMU?",
            "vhost 把后端从 QEMU 移进内核，虚拟机里的网卡不变。用 vhost 的一次往返是用 QEMU 的多少倍？",
        ),
        above=Bilingual(
            "You expected less of a difference. Look at the timeline: what QEMU's main loop does for one packet is mostly entering and leaving the kernel, and all of that goes.",
            "你以为差别更小。看时间线：QEMU 的主循环为一个数据包做的事，大半是进出内核，而这些全都没有了。",
        ),
        below=Bilingual(
            "You expected even more. The worker is still a thread that has to be woken, it still copies the packet, and the guest's own part does not change.",
            "你以为差别更大。工作线程仍要被唤醒，仍要拷贝数据包，虚拟机自己的那一部分也没有变。",
        ),
        close=Bilingual(
            "What goes are switches to user space; what stays is a wake-up, a copy, and the guest.",
            "去掉的是进出用户态的切换；留下的是一次唤醒、一次拷贝，以及虚拟机自己。",
        ),
    ),
    PredictedRatio(
        "03-latency",
        Bilingual(
            "With passthrough no device and no thread of the host is on the path. A round trip takes how many times as long as one with vhost?",
            "直通之后，路径上没有宿主机的设备和线程。一次往返是用 vhost 的多少倍？",
        ),
        above=Bilingual(
            "You expected a smaller gain. Count what is woken for an echo: with vhost the worker, then the vCPU, then the worker again; now only the vCPU.",
            "你以为收获更小。数一数一次往返要唤醒谁：用 vhost 时先是工作线程，再是 vCPU，然后又是工作线程；现在只有 vCPU。",
        ),
        below=Bilingual(
            "You expected a larger gain. The guest's own stack stays, and so do the NIC's interrupts: without posted interrupts KVM forwards each of them.",
            "你以为收获更大。虚拟机自己的协议栈还在，网卡的中断也还在：没有 posted interrupts 时，每个中断都由 KVM 转发。",
        ),
        close=Bilingual(
            "What is left is the guest, and KVM that forwards interrupts.",
            "剩下的是虚拟机，以及转发中断的 KVM。",
        ),
    ),
    PredictedRatio(
        "04-latency",
        Bilingual(
            "A VF is a small function that shares the port with the host. A round trip with a VF takes how many times as long as one with vhost on the same port?",
            "VF 是一个小功能，与宿主机共用网口。用 VF 的一次往返是在同一网口上用 vhost 的多少倍？",
        ),
        above=Bilingual(
            "You expected a smaller gain. Sharing costs nothing on the path: the switch inside the NIC is hardware, and no thread of the host is woken.",
            "你以为收获更小。共用在路径上不花代价：网卡里的交换是硬件，也不唤醒宿主机的任何线程。",
        ),
        below=Bilingual(
            "You expected a larger gain. Guest and interrupts stay, as with a whole NIC.",
            "你以为收获更大。虚拟机和中断都还在，和独占整块网卡时一样。",
        ),
        close=Bilingual(
            "On its path a VF is what a whole NIC is; what differs is who else has the port.",
            "在路径上，VF 和整块网卡一样；不同的是网口还有谁在用。",
        ),
    ),
    PredictedRatio(
        "05-share",
        Bilingual(
            "With one queue pair one vhost worker does all the work of many TCP flows. With all pairs in use, the share of the busiest worker is how many times as large?",
            "只有一对队列时，许多 TCP 流的工作全由一个 vhost 工作线程做。全部用上之后，最忙的那个线程所占的份额是原来的多少倍？",
        ),
        above=Bilingual(
            "You expected the work to stay with one worker. Flows spread by the vCPU on which their senders run, and two vCPUs feed at least two queues.",
            "你以为工作仍集中在一个线程上。流按发送程序所在的 vCPU 分到各队列，两个 vCPU 至少喂饱两个队列。",
        ),
        below=Bilingual(
            "You expected an even spread over all workers. Flows are few, and each sits in one queue at a time: some queues get two of them, some none.",
            "你以为会平均分到所有线程。流不多，每个流同一时刻只在一个队列里：有的队列分到两个，有的一个也没有。",
        ),
        close=Bilingual(
            "The share of the busiest limits what more queues can gain.",
            "最忙的线程所占的份额，决定了多队列最多能带来多少。",
        ),
    ),
    PredictedRatio(
        "06-latency",
        Bilingual(
            "From the first scheme of the article to the last: a round trip with a VF takes how many times as long as one with the e1000?",
            "从原文的第一个方案到最后一个：用 VF 的一次往返是用 e1000 的多少倍？",
        ),
        above=Bilingual(
            "You expected less of a difference. Each register access of the e1000 stops the guest, and then QEMU's main loop has to run; of both nothing is left.",
            "你以为差别更小。e1000 每次访问寄存器都让虚拟机停下，然后还要 QEMU 的主循环运行；这两样全都没有了。",
        ),
        below=Bilingual(
            "You expected even more. Guest, cable and peer are the same in both, and they are most of what a VF's round trip is made of.",
            "你以为差别更大。虚拟机、网线和对端在两者中都一样，而 VF 的往返大半就由它们组成。",
        ),
        close=Bilingual(
            "The kinds of crossings decide, not the number of devices.",
            "起决定作用的是穿越的种类，不是设备的个数。",
        ),
    ),
    PredictedRatio(
        "07-team",
        Bilingual(
            "A VM with virtio alone migrates, then one in a team, whose VF is unplugged for it. The second only receives. Its peer hears nothing how many times as long?",
            "先迁移只有 virtio 的虚拟机，再迁移一台组成 team 的，为此要拔走它的 VF。后者只接收。对端听不到它的时间是前者的多少倍？",
        ),
        above=Bilingual(
            "You expected an even longer hole. Unplugging takes a moment only; what takes seconds is that nobody corrects the bridge until the VM announces itself.",
            "你以为空洞更长。拔走只要一瞬间；拖上几秒的是：在虚拟机通告自己之前，没有人纠正网桥。",
        ),
        below=Bilingual(
            "You expected a shorter one. The VM stands still for about as long as before; the hole begins much earlier, when the VF goes.",
            "你以为空洞更短。虚拟机停住的时间和之前差不多；但空洞早在 VF 拔走时就开始了。",
        ),
        close=Bilingual(
            "The hole is not the downtime: it begins when the VF goes and the bridge does not know it.",
            "空洞不是停机时间：VF 拔走而网桥不知道，它就开始了。",
        ),
    ),
    PredictedRatio(
        "07-remedy",
        Bilingual(
            "The same team migrates with a remedy at the bridge. Its hole is how many times as long as that without?",
            "同样的 team，在网桥上采取一种补救办法之后再迁移。空洞是不补救时的多少倍？",
        ),
        above=Bilingual(
            "You expected less of it. With the remedy packets pass from the moment the VF is gone until the VM stops: nearly all of the hole was that time.",
            "你以为作用更小。有了补救，从 VF 拔走到虚拟机停住，数据包一直能过：空洞的绝大部分就是这段时间。",
        ),
        below=Bilingual(
            "You expected more of it. The VM still has to stop while the rest of its memory moves: no remedy at a bridge takes that away.",
            "你以为作用更大。剩下的内存转移时，虚拟机总要停住：网桥上的办法去不掉这一段。",
        ),
        close=Bilingual(
            "What is left is the downtime, which virtio alone has as well.",
            "剩下的是停机时间，只有 virtio 时也有。",
        ),
    ),
    PredictedRatio(
        "08-tso",
        Bilingual(
            "Without TSO the guest cuts its stream into frames of 1500 bytes by itself. The throughput of TCP from the VM is then how many times that with TSO?",
            "没有 TSO，虚拟机自己把数据流切成 1500 字节的帧。这时从虚拟机发出的 TCP 吞吐量是有 TSO 时的多少倍？",
        ),
        above=Bilingual(
            "You expected less of a loss. Cutting is the smaller part: each of forty frames now crosses virtqueue, worker, tap and bridge by itself.",
            "你以为损失更小。切分是小事：四十个帧现在要一个一个地穿过 virtqueue、工作线程、tap 和网桥。",
        ),
        below=Bilingual(
            "You expected more of a loss. Frames of one batch still share the notification and the wake-up, and the bytes are copied once in either case.",
            "你以为损失更大。同一批的帧仍然共用通知和唤醒，字节也都只拷贝一次。",
        ),
        close=Bilingual(
            "The price of a packet is paid once for 64 KiB, or forty times.",
            "一个数据包的代价，64 KiB 付一次，或者付四十次。",
        ),
    ),
    PredictedRatio(
        "08-rules",
        Bilingual(
            "Every bridged packet walks through 100 rules of iptables. A round trip takes how many times as long as without?",
            "每个经过网桥的数据包都要走过 100 条 iptables 规则。一次往返是没有规则时的多少倍？",
        ),
        above=Bilingual(
            "You expected more. A rule that compares an address is a few dozen instructions; a wake-up of a thread is thousands.",
            "你以为更多。比较一个地址的规则只要几十条指令；唤醒一个线程要几千条。",
        ),
        below=Bilingual(
            "You expected it to be free. A stream shares one walk among 64 KiB; an echo is a packet each way, and pays for each of them.",
            "你以为不花代价。数据流每 64 KiB 才走一遍规则；而 ping 来回各是一个数据包，每个都要付。",
        ),
        close=Bilingual(
            "Rules cost by their number and by the packet, so who sends small packets pays.",
            "规则按条数和数据包数收费，所以付代价的是发小包的。",
        ),
    ),
)
