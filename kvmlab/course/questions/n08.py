"""Questions of notebook 08."""

from __future__ import annotations

from typing import Final

from kvmlab.course.question import Question, ask

QUESTIONS: Final[tuple[Question, ...]] = (
    ask(
        "08-percent",
        (
            "A tuning saves 3 % of the instructions of a TCP stream that waits for nothing. What becomes of its throughput under this clock?",
            "某个调优项让一条从不等待的 TCP 流少用 3% 的指令。在这种时钟下，吞吐量会怎样？",
        ),
        3,
        (
            (
                "That depends on what else this machine does.",
                "取决于这台机器同时在忙什么。",
            ),
            (
                "Other programs make you wait longer for the result; they are not in it.",
                "别的程序只会让你多等一会儿，不会影响结果。",
            ),
        ),
        (
            ("Nothing can be seen: 3 % are within the spread.", "看不出来：3% 在波动范围之内。"),
            (
                "The same work takes the same time again here, so a few trials show one percent.",
                "在这里，同样的工作每次用时相同，测几次就能看出百分之一。",
            ),
        ),
        (
            ("It rises by about 3 %.", "上升约 3%。"),
            (
                "Right. On a server, cache misses and waiting can count for more than instructions.",
                "对。在服务器上，缓存未命中和等待的影响可能比指令数更大。",
            ),
        ),
    ),
    ask(
        "08-ignored",
        (
            "The live XML of a VM says `packed='on'`, vhost serves its NIC, and it runs. What is known of its rings?",
            "虚拟机运行中的 XML 里写着 `packed='on'`，由 vhost 为网卡服务，一切运行正常。关于它的环能知道什么？",
        ),
        2,
        (
            ("They are packed: libvirt accepted it.", "是 packed 环：libvirt 接受了。"),
            (
                "libvirt accepts what QEMU knows; whether the back end has it is decided later.",
                "libvirt 接受 QEMU 认识的属性；后端有没有，是之后才定的。",
            ),
        ),
        (
            (
                "Nothing: look into the VM what was negotiated.",
                "什么也不知道：要到虚拟机里看协商的结果。",
            ),
            (
                "Right: `/sys/class/net/eth0/device/features`, bit 34.",
                "对：看 `/sys/class/net/eth0/device/features` 的第 34 位。",
            ),
        ),
        (
            ("They are split, or the VM would be faster.", "是 split 环，否则虚拟机会更快。"),
            ("A speed proves nothing about a setting.", "速度证明不了设置。"),
        ),
    ),
    ask(
        "08-ring",
        (
            "A receive ring of 64 does nothing to a TCP stream. Which traffic notices it?",
            "接收环缩短到 64 对 TCP 流没有影响。哪种流量会察觉？",
        ),
        3,
        (
            ("a ping", "ping"),
            ("One packet at a time needs one descriptor.", "一次一个数据包，只要一个描述符。"),
        ),
        (
            ("TCP from the VM", "虚拟机发出的 TCP"),
            ("It receives acknowledgements only, and waits for them.", "它只接收确认，而且会等。"),
        ),
        (
            ("bursts of small packets to the VM", "发往虚拟机的小包突发"),
            (
                "Right: a ring is room for bursts, and who sends UDP does not wait.",
                "对：环是给突发留的余地，而 UDP 的发送方不会等。",
            ),
        ),
    ),
    ask(
        "08-direction",
        (
            "GRO at the port is switched off, and TCP from the VM stays the same. Is the setting worthless?",
            "关掉网口的 GRO，虚拟机发出的 TCP 没有变化。这个设置没有用吗？",
        ),
        1,
        (
            (
                "No: it acts on what comes in at the port; measure TCP to the VM.",
                "不是：它作用于从网口进来的；要测发往虚拟机的 TCP。",
            ),
            (
                "Right: ask of each setting which direction it is for.",
                "对：每个设置都要问它管哪个方向。",
            ),
        ),
        (
            ("Yes: leave it off.", "是：关着就好。"),
            (
                "The incident `no-receive-offload` halves downloads by this very setting.",
                "故障 `no-receive-offload` 正是用这个设置让下载速度减半。",
            ),
        ),
        (
            ("It works only with UDP.", "它只对 UDP 有效。"),
            ("It merges TCP segments above all.", "它主要合并的就是 TCP 段。"),
        ),
    ),
    ask(
        "08-elsewhere",
        (
            "What does this host not show about a ring of 1,024 descriptors?",
            "关于 1,024 个描述符的环，这台宿主机显示不出什么？",
        ),
        2,
        (
            ("its instructions", "它的指令数"),
            ("These are what it counts best.", "这正是它数得最准的。"),
        ),
        (
            (
                "cache misses: here every access to memory takes the same time",
                "缓存未命中：这里每次访问内存的时间都一样",
            ),
            (
                "Right: on a real CPU a long ring with its buffers can fall out of the cache.",
                "对：在真实的 CPU 上，长环和它的缓冲区可能放不进缓存。",
            ),
        ),
        (
            ("its drops", "它的丢包"),
            ("A ring that overflows loses packets here as well.", "环满了，在这里一样丢包。"),
        ),
    ),
    ask(
        "08-refusal",
        (
            "The atlas lists a tuning as refused. What does that say about your server?",
            "图集里某个调优项写着被拒绝。这对你的服务器说明什么？",
        ),
        3,
        (
            ("It is impossible there as well.", "在那里也不可能。"),
            (
                "The reason is that of this host: one CPU, this NIC, this kernel.",
                "原因是这台宿主机的：一个 CPU、这块网卡、这个内核。",
            ),
        ),
        (("It does no good.", "它没有好处。"), ("It was not measured at all.", "它根本没有测。")),
        (
            (
                "Nothing, but the reason says what to look for.",
                "什么也不说明，但原因告诉你该看什么。",
            ),
            (
                "Right: `kvmlab plan` asks your own host.",
                "对：`kvmlab plan` 会去问你自己的宿主机。",
            ),
        ),
    ),
    ask(
        "08-two",
        (
            "Alone, `guest-tso=off` gives 0.36 of the throughput and `mtu=9000` 1.45 times. Together they give 0.95, not 0.53. Why?",
            "单独用时，`guest-tso=off` 的吞吐量是 0.36 倍，`mtu=9000` 是 1.45 倍。合用却是 0.95 倍，而不是 0.53 倍。为什么？",
        ),
        1,
        (
            (
                "Without TSO the guest cuts frames itself, and with 9,000 bytes there are six times fewer to cut and to pass on.",
                "没有 TSO，帧由虚拟机自己切；帧长 9,000 字节时，要切、要传的就少了六倍。",
            ),
            (
                "Right: a large MTU matters most to who has to pay for each frame.",
                "对：谁要为每一帧付出代价，大 MTU 对谁最有用。",
            ),
        ),
        (
            ("It is chance.", "是偶然。"),
            (
                "The interval excludes the product; the table prints such factors in bold.",
                "区间不含乘积；表里这样的因子用粗体。",
            ),
        ),
        (
            ("An MTU of 9,000 switches TSO on again.", "MTU 9,000 会重新打开 TSO。"),
            ("`ethtool -k` in the VM says that it does not.", "虚拟机里的 `ethtool -k` 表明没有。"),
        ),
    ),
    ask(
        "08-detour",
        (
            "100 rules in ebtables are as slow for a ping as 1,000 in iptables, and yet there is a detour that ebtables does not make. Which?",
            "对 ping 来说，ebtables 的 100 条规则和 iptables 的 1,000 条一样慢；但有一段弯路 ebtables 不走。是哪段？",
        ),
        2,
        (
            ("the one through user space", "经过用户态的"),
            ("Neither of them leaves the kernel.", "两者都不离开内核。"),
        ),
        (
            (
                "the one through br_netfilter, where a bridged frame is made to look routed",
                "经过 br_netfilter 的，桥接的帧在那里被当作路由的数据包",
            ),
            (
                "Right: ebtables sees frames in the bridge itself.",
                "对：ebtables 在网桥里直接看帧。",
            ),
        ),
        (
            ("the one through the tap", "经过 tap 的"),
            (
                "Every packet of the VM passes the tap, whoever filters.",
                "不管由谁过滤，虚拟机的每个数据包都经过 tap。",
            ),
        ),
    ),
)
