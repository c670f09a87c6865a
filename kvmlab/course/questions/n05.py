"""Questions of notebook 05."""

from __future__ import annotations

from typing import Final

from kvmlab.course.question import Question, ask

QUESTIONS: Final[tuple[Question, ...]] = (
    ask(
        "05-neighbour",
        (
            "A neighbour runs this notebook on a slower machine. Which result should be the same as yours?",
            "邻座在一台更慢的机器上运行本篇。哪个结果应当和你的一样？",
        ),
        2,
        (
            ("the throughput of one flow", "一条流的吞吐量"),
            (
                "That is counted in seconds of a real clock, and each machine does another amount of work in one.",
                "它按真实时间的秒数算，而每台机器一秒里做的事不一样多。",
            ),
        ),
        (
            (
                "how many vhost workers did the work of a single flow",
                "一条流的工作由几个 vhost 工作线程完成",
            ),
            (
                "Right. This is a count: no clock is in it.",
                "对。这是计数，与时钟无关。",
            ),
        ),
        (
            ("the median round trip", "往返时间的中位数"),
            (
                "It is a time, and depends on the machine and on what else it does.",
                "这是时间，取决于机器，也取决于机器同时在忙什么。",
            ),
        ),
    ),
    ask(
        "05-one",
        (
            "A VM has four queue pairs, all in use. What does a single TCP connection gain?",
            "虚拟机有四对队列，全部在用。单个 TCP 连接得到什么好处？",
        ),
        2,
        (
            ("nearly four times the throughput", "吞吐量接近四倍"),
            (
                "A flow has one queue at a time, or its packets would overtake each other.",
                "一个流同一时刻只有一个队列，否则数据包会互相超越。",
            ),
        ),
        (
            ("nothing", "没有好处"),
            (
                "Right: one queue works, the others wait.",
                "对：一个队列在工作，其余在等。",
            ),
        ),
        (
            ("shorter round trips", "往返更短"),
            (
                "A ping is one packet in one queue.",
                "一个 ping 只是一个队列里的一个数据包。",
            ),
        ),
    ),
    ask(
        "05-qemu",
        (
            '`kvmlab.Virtio(backend="qemu", queues=4)`: QEMU has one main loop. What spreads?',
            '`kvmlab.Virtio(backend="qemu", queues=4)`：QEMU 只有一个主循环。什么会分散开？',
        ),
        1,
        (
            (
                "the guest's sending and its interrupts, not the back end's work",
                "虚拟机的发送和它的中断，但后端的工作不会",
            ),
            (
                "Right: four rings, one thread that serves them in turn.",
                "对：四个环，由一个线程轮流服务。",
            ),
        ),
        (
            ("everything, as with vhost", "全部，和 vhost 一样"),
            (
                "vhost has a worker for each pair; QEMU has one loop for all.",
                "vhost 每一对有一个工作线程；QEMU 所有的都归一个循环。",
            ),
        ),
        (
            ("nothing at all", "什么也不会"),
            (
                "Inside the guest each vCPU has a queue of its own.",
                "在虚拟机里，每个 vCPU 有自己的队列。",
            ),
        ),
    ),
    ask(
        "05-virtual",
        (
            "Under the virtual clock the driver chooses one channel by itself. Why?",
            "在虚拟时钟下，驱动自己只选一个通道。为什么？",
        ),
        3,
        (
            ("The host offers only one.", "宿主机只提供一个。"),
            ("It offers N in either case.", "两种情况下都提供 N 个。"),
        ),
        (
            ("Virtual time has no interrupts.", "虚拟时间里没有中断。"),
            ("It has the same ones.", "中断是一样的。"),
        ),
        (
            (
                "The VM has a single CPU there, and the driver takes as many channels as CPUs.",
                "那里虚拟机只有一个 CPU，而驱动有几个 CPU 就取几个通道。",
            ),
            (
                "Right: which is why this notebook uses wall time.",
                "对：所以本篇用真实时间。",
            ),
        ),
    ),
    ask(
        "05-flows",
        (
            "With two flows and two queue pairs, do both pairs always work?",
            "两个流，两对队列，两对总是都在工作吗？",
        ),
        3,
        (
            ("Yes, a flow for each.", "是，一个流一对。"),
            (
                "Nobody assigns them; the sender's vCPU decides.",
                "没有谁来分配；由发送程序所在的 vCPU 决定。",
            ),
        ),
        (
            ("Never: one pair serves all.", "从不：一对服务所有的流。"),
            (
                "Then more flows would not spread either; the figure shows that they do.",
                "那样的话，流再多也不会分散；图上是分散的。",
            ),
        ),
        (
            (
                "Not always: both senders may be on one vCPU.",
                "不一定：两个发送程序可能在同一个 vCPU 上。",
            ),
            ("Right. `-p FLOWS=2` shows how often.", "对。`-p FLOWS=2` 可以看到有多频繁。"),
        ),
    ),
    ask(
        "05-costs",
        (
            '`figures.costs(*steps, workload="tcp_up_flows")`: which cost does not change with the number of channels?',
            '`figures.costs(*steps, workload="tcp_up_flows")`：哪一种开销不随通道数变化？',
        ),
        1,
        (
            ("the guest's own work for a packet", "虚拟机为一个数据包做的事"),
            (
                "Right; what grows are wake-ups, interrupts and switches.",
                "对；增加的是唤醒、中断和切换。",
            ),
        ),
        (
            ("context switches", "上下文切换"),
            ("They grow: more threads sleep and are woken.", "会增加：更多的线程睡下又被唤醒。"),
        ),
        (
            ("VM exits", "VM 退出"),
            ("They grow where batches become smaller.", "批量变小，退出就增加。"),
        ),
    ),
    ask(
        "05-vectors",
        (
            "A VM with two vCPUs is offered eight queue pairs. What does that cost?",
            "给一台两个 vCPU 的虚拟机提供八个队列对。要付出什么？",
        ),
        2,
        (
            ("nothing at all", "什么也不用"),
            (
                "Count the plan's vectors and the host's threads.",
                "数一数计划里的中断向量和宿主机的线程。",
            ),
        ),
        (
            (
                "18 interrupt vectors, memory for 16 virtqueues, and eight workers, of which most sleep",
                "18 个中断向量、16 个 virtqueue 的内存，以及八个工作线程，其中多数在休眠",
            ),
            ("Right. What it brings is limited by the two vCPUs.", "对。而好处受两个 vCPU 限制。"),
        ),
        (
            ("a quarter of the throughput", "四分之一的吞吐量"),
            (
                "An idle worker sleeps; it takes nothing from the others.",
                "闲着的工作线程在休眠，不占别人的资源。",
            ),
        ),
    ),
    ask(
        "05-driver",
        (
            "A NIC with four queue pairs is plugged into a VM with two vCPUs. How many does a current Linux use by itself?",
            "一块有四个队列对的网卡插进两个 vCPU 的虚拟机。现在的 Linux 自己会用几个？",
        ),
        2,
        (
            ("one, until `ethtool -L`", "一个，直到执行 `ethtool -L`"),
            ("That was so in the article's day.", "原文写作时是这样。"),
        ),
        (
            ("two, one for each vCPU", "两个，每个 vCPU 一个"),
            (
                "Right: the driver takes as many as there are CPUs, if they are offered.",
                "对：只要提供了，驱动就按 CPU 数取用。",
            ),
        ),
        (
            ("all four", "全部四个"),
            (
                "Four pairs would have two vCPUs to serve them. `combined 4` forces it.",
                "四个队列对只有两个 vCPU 来服务。要用 `combined 4` 才会这样。",
            ),
        ),
    ),
    ask(
        "05-many",
        (
            "One channel, eight flows. How many vhost workers do the work?",
            "一个通道，八条流。有几个 vhost 工作线程在干活？",
        ),
        1,
        (
            ("one", "一个"),
            (
                "Right: flows share the queue pair, and the pair has one worker.",
                "对：各条流共用一个队列对，而它只有一个工作线程。",
            ),
        ),
        (
            ("eight, one for each flow", "八个，每条流一个"),
            (
                "A worker belongs to a queue pair and knows nothing of flows.",
                "工作线程属于队列对，不知道有几条流。",
            ),
        ),
        (
            ("as many as were offered", "提供了几个就几个"),
            (
                "Offered ones sleep until the VM uses their pair.",
                "提供的线程在虚拟机用到它的队列对之前一直休眠。",
            ),
        ),
    ),
    ask(
        "05-udp",
        (
            "Many UDP flows of one program leave by a single queue, although four channels are in use. Why?",
            "四个通道都在用，一个程序的许多 UDP 流却都从同一个队列出去。为什么？",
        ),
        3,
        (
            ("UDP has no flows.", "UDP 没有流。"),
            (
                "Ports and addresses make flows of it, as of TCP.",
                "端口和地址同样构成流，与 TCP 一样。",
            ),
        ),
        (
            ("The packets are too small.", "数据包太小。"),
            (
                "The size decides how many fit into a batch, not their queue.",
                "大小决定一批能有多少，不决定走哪个队列。",
            ),
        ),
        (
            (
                "Its sockets were opened on one vCPU, and keep the queue of their first packet.",
                "它的套接字都在一个 vCPU 上打开，并一直用第一个数据包的队列。",
            ),
            (
                "Right: many flows are not enough, they must begin on different CPUs.",
                "对：流多还不够，它们要从不同的 CPU 上开始。",
            ),
        ),
    ),
    ask(
        "05-bound",
        (
            "The single worker of a VM fills 40 % of a CPU, and the host's CPUs are full. What do more queues gain?",
            "一台虚拟机唯一的工作线程只占一个 CPU 的 40%，而宿主机的 CPU 都满了。多队列能带来什么？",
        ),
        1,
        (
            ("nothing: the worker is not the limit", "什么也没有：工作线程不是瓶颈"),
            (
                "Right. Spread what is full, not what is half empty.",
                "对。要分散的是满的，不是半空的。",
            ),
        ),
        (
            ("2.5 times the throughput", "2.5 倍的吞吐量"),
            (
                "That is what this worker could still take on, if anybody had CPU time to feed it.",
                "这是该线程还能承担的量，前提是还有 CPU 时间供给它。",
            ),
        ),
        (
            ("40 % more", "多 40%"),
            (
                "Its share says how busy it is, not how much is to be gained.",
                "份额说明它有多忙，不说明能多得多少。",
            ),
        ),
    ),
    ask(
        "05-sleep",
        (
            "Why do small packets of one thread cost more exits with four channels than with one?",
            "同一线程发的小包，为什么四个通道比一个通道的退出更多？",
        ),
        2,
        (
            ("Each channel is an exit.", "每个通道就是一次退出。"),
            (
                "An exit comes from a notification, and a queue that is not used sends none.",
                "退出来自通知，没用到的队列不发通知。",
            ),
        ),
        (
            (
                "Workers that are less busy sleep sooner, and have to be notified again.",
                "不太忙的工作线程更早睡下，又要再次通知。",
            ),
            (
                "Right: a busy worker polls its queue, and needs no notification.",
                "对：忙着的线程会一直看队列，不需要通知。",
            ),
        ),
        (
            ("Packets of four queues have to be put in order.", "四个队列的数据包要重新排序。"),
            (
                "A flow stays in one queue at a time, so there is nothing to order.",
                "一条流同一时刻只在一个队列里，没有什么要排序。",
            ),
        ),
    ),
    ask(
        "05-speeds",
        (
            "Why does this notebook draw no conclusion from the speeds in the figure?",
            "为什么本篇不从图里的速度得出结论？",
        ),
        3,
        (
            ("They are measured wrongly.", "测错了。"),
            (
                "They are measured as everywhere else; the question is what they depend on.",
                "测法与别处一样；问题在于它们取决于什么。",
            ),
        ),
        (
            ("There are too few trials.", "测试次数太少。"),
            (
                "More trials would give narrower intervals of the same thing.",
                "多做几次只会让同一件事的区间变窄。",
            ),
        ),
        (
            (
                "Workers, vCPUs, bridge and peer share two emulated CPUs, which are full.",
                "工作线程、vCPU、网桥和对端共用两个模拟的 CPU，而它们已经满了。",
            ),
            (
                "Right: who does the work can be counted, what it would bring elsewhere cannot.",
                "对：谁在干活可以数出来，换个地方能带来什么数不出来。",
            ),
        ),
    ),
    ask(
        "05-steer",
        (
            "A packet of a known flow comes in from the port. Who decides in which queue the VM gets it?",
            "一条已知的流有数据包从网口进来。由谁决定虚拟机从哪个队列收到它？",
        ),
        1,
        (
            (
                "the tap, which remembers where that flow last sent",
                "tap，它记得这条流上次从哪里发送",
            ),
            (
                "Right: so answers come back to the vCPU that asked.",
                "对：所以应答会回到发问的那个 vCPU。",
            ),
        ),
        (
            ("the guest's `ethtool -L`", "虚拟机的 `ethtool -L`"),
            (
                "It sets how many there are, not which one a packet takes.",
                "它设置有几个，不决定数据包走哪一个。",
            ),
        ),
        (
            ("the bridge", "网桥"),
            (
                "It chooses a port of the bridge by MAC, and knows no queues.",
                "它按 MAC 选网桥端口，不知道队列。",
            ),
        ),
    ),
)
