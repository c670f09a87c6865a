"""Tasks of notebook 08, tuning: set it, look whether it was taken, and ask what it is worth."""

from __future__ import annotations

import re
from typing import Final

from kvmlab.course.bilingual import Bilingual
from kvmlab.course.site import Site
from kvmlab.course.task import Difficulty, Mistake, Practice, Reasons, Task
from kvmlab.course.tasks.checks import (
    BY_VHOST,
    LOOPBACK,
    MAKE_BRIDGE,
    MILLISECONDS,
    PING_THE_VM,
    ROUND_TRIP_MISTAKES,
    TENFOLD,
    VIRTIO,
    as_answer,
    attach,
    in_vm,
    interface_xml,
    measured,
    one_interface,
    round_trip,
)
from kvmlab.results.atlas import Atlas
from kvmlab.schemes import Virtio
from kvmlab.tunings import tuned

#: The number of VIRTIO_F_RING_PACKED among the negotiated features.
_PACKED: Final = 34
_HALT_POLL: Final = "/sys/module/kvm/parameters/halt_poll_ns"
_WANTED_NS: Final = 50_000


def features(site: Site) -> str:
    """Return the negotiated features of the VM's virtio NIC, a digit each; "" without one.

    One that was plugged a moment ago gets the time to appear.
    """
    read = "cat /sys/bus/virtio/drivers/virtio_net/virtio*/features 2>/dev/null"
    line = f"for try in $(seq 25); do {read} && break; sleep 0.2; done"
    return site.in_vm("sh", "-c", line).stdout.strip()


def check_packed(site: Site) -> Reasons:
    """See that guest and back end have agreed on packed rings."""
    reasons = one_interface(site)
    interface = site.interface
    if interface is None:
        return reasons
    if interface.model != "virtio":
        return [
            Bilingual(
                "The NIC is a {model}: it has registers, and no virtqueue to pack.",
                "网卡是 {model}：它有的是寄存器，没有可以打包的 virtqueue。",
            ).format(model=interface.model)
        ]
    negotiated = features(site)
    if len(negotiated) > _PACKED and negotiated[_PACKED] == "1":
        return []
    if site.threads.vhost:
        return [
            Bilingual(
                "Whatever the XML says: in the VM, feature 34 of the NIC is 0. vhost serves it, and vhost in the kernel has no packed ring. QEMU dropped it without a word.",
                "不管 XML 怎么写：在虚拟机里，网卡的特性 34 是 0。为它服务的是 vhost，而内核里的 vhost 没有 packed 环。QEMU 不声不响地丢掉了它。",
            )
        ]
    return [
        Bilingual(
            "QEMU serves the NIC and could do it, and nobody asked: the attribute `packed` of `<driver>` is not on.",
            "为网卡服务的是 QEMU，它做得到，但没有人要：`<driver>` 的属性 `packed` 没有打开。",
        )
    ]


def rings(site: Site) -> tuple[int, int, int]:
    """Return the VM's descriptors to receive, to send, and the most to send; zeros for none."""
    name = site.in_vm("sh", "-c", f"grep -l {site.mac} /sys/class/net/*/address").stdout
    done = site.in_vm("ethtool", "-g", name.split("/")[4] if "/" in name else "eth0")
    sizes = [int(n) for n in re.findall(r"^(?:RX|TX):\s+(\d+)", done.stdout, re.MULTILINE)]
    return (sizes[2], sizes[3], sizes[1]) if len(sizes) == 4 else (0, 0, 0)


def check_ring(site: Site) -> Reasons:
    """See that the receiving ring has 128 descriptors, and the sending one as many as before."""
    receive, send, most = rings(site)
    if send != most:
        return [
            Bilingual(
                "The ring of {send} descriptors is the one that sends. The VM receives by `rx`.",
                "有 {send} 个描述符的是发送环。虚拟机接收用的是 `rx`。",
            ).format(send=send)
        ]
    if receive == 128:
        return []
    if receive < 256:
        return [
            Bilingual(
                "The ring has {receive} descriptors, and 128 are wanted.",
                "环里有 {receive} 个描述符，要的是 128 个。",
            ).format(receive=receive)
        ]
    return [
        Bilingual(
            "The ring to receive still has {receive} descriptors. A size that is no power of two, or larger than the most that `ethtool -g` lists, is refused as a whole; and it is set inside the VM, not at a port of the host.",
            "接收环仍有 {receive} 个描述符。不是 2 的幂，或者超过 `ethtool -g` 列出的最大值，都会被整个拒绝；而且要在虚拟机里设置，不是在宿主机的网口上。",
        ).format(receive=receive)
    ]


def check_halt_poll(site: Site) -> Reasons:
    """See that KVM spins for 50 µs."""
    value = int(site.read(f"cat {_HALT_POLL}") or 0)
    if value == _WANTED_NS:
        return []
    if value == _WANTED_NS // 1000:
        return [
            Bilingual(
                "The parameter counts nanoseconds, as its name ends: 50 of them are over before anything could happen.",
                "参数名的结尾说明单位是纳秒：50 纳秒里什么也来不及发生。",
            )
        ]
    if value > _WANTED_NS:
        return [
            Bilingual(
                "KVM would spin for {value} ns. That is CPU time taken from everybody else on this host, for a vCPU that has nothing to do.",
                "KVM 会空转 {value} 纳秒。为了一个没事可做的 vCPU，占用了宿主机上其他人的 CPU 时间。",
            ).format(value=value)
        ]
    return [
        Bilingual(
            "It reads {value} ns. The file is {path}; a value with a point or a unit is refused.",
            "读到的是 {value} 纳秒。文件是 {path}；带小数点或单位的值会被拒绝。",
        ).format(value=value, path=_HALT_POLL)
    ]


def best_tuning() -> str:
    """Return the tuning of the shipped atlas whose throughput is the largest of all."""
    rows = [(effect.ratio or 0.0, row.tuning) for row in Atlas.shipped().measured
            if (effect := row.effect("throughput")) is not None and effect.shown]  # fmt: skip
    return max(rows)[1]


def check_best(site: Site) -> Reasons:
    """See that the answer is the tuning that is worth most to a stream."""
    right, rows = best_tuning(), {row.tuning: row for row in Atlas.shipped().measured}
    if site.answer == right:
        return []
    row = rows.get(site.answer)
    effect = row.effect("throughput") if row is not None else None
    if effect is None or effect.ratio is None:
        return [
            Bilingual(
                "The atlas has no row {answer}. An answer is written as in its column of tunings: `rx-ring=64`.",
                "图集里没有 {answer} 这一行。答案照图集里调优项那一列写：`rx-ring=64`。",
            ).format(answer=site.answer)
        ]
    ratio = f"{effect.ratio:.3g}"
    if not effect.shown:
        return [
            Bilingual(
                "The interval of {answer} includes 1: no difference is shown.",
                "{answer} 的区间包含 1：没有显出差别。",
            ).format(answer=site.answer)
        ]
    if effect.ratio < 1:
        return [
            Bilingual(
                "With {answer} the throughput is {ratio} times that without: it is large, and it is a loss.",
                "用 {answer} 时吞吐量是不用时的 {ratio} 倍：影响大，但是变差了。",
            ).format(answer=site.answer, ratio=ratio)
        ]
    return [
        Bilingual(
            "With {answer} the throughput is {ratio} times that without; there is one that is worth more.",
            "用 {answer} 时吞吐量是不用时的 {ratio} 倍；还有一个更大的。",
        ).format(answer=site.answer, ratio=ratio)
    ]


_PACKED_RING: Final = "<driver name='qemu' packed='on'/>"

TASKS: Final = (
    Task(
        id="08-1",
        title=Bilingual("A packed ring that is one", "真正的 packed 环"),
        text=Bilingual(
            "The bridge br-course is there. Attach a virtio NIC on it, MAC 52:54:00:6b:00:0c, so that guest and back end really use packed rings: bit 34 of the features that the VM negotiated is 1 (`/sys/class/net/eth0/device/features` inside the VM).",
            "网桥 br-course 已经建好。插一块接在上面的 virtio 网卡，MAC 为 52:54:00:6b:00:0c，让虚拟机和后端真的使用 packed 环：虚拟机协商到的特性里第 34 位是 1（虚拟机内的 `/sys/class/net/eth0/device/features`）。",
        ),
        trains=Bilingual("what is set is not always what is negotiated", "写了不等于生效"),
        minutes=7,
        difficulty=Difficulty.HARD,
        practice=Practice.SHELL,
        setup=MAKE_BRIDGE,
        check=check_packed,
        solution=(attach(interface_xml(VIRTIO, _PACKED_RING)),),
        hints=(
            Bilingual(
                "libvirt accepts the attribute `packed` for any back end. Which one has it?",
                "无论哪种后端，libvirt 都接受属性 `packed`。哪一种后端真的有？",
            ),
            Bilingual("`<driver name='qemu' packed='on'/>`", "`<driver name='qemu' packed='on'/>`"),
        ),
        mistakes=(
            Mistake(
                "dropped it without a word",
                (attach(interface_xml(VIRTIO, BY_VHOST.replace("/>", " packed='on'/>"))),),
            ),
            Mistake("nobody asked", (attach(interface_xml(VIRTIO, "<driver name='qemu'/>")),)),
            Mistake("no virtqueue to pack", (attach(interface_xml("<model type='e1000e'/>")),)),
        ),
    ),
    Task(
        id="08-2",
        title=Bilingual("A shorter ring", "更短的环"),
        text=Bilingual(
            "The VM has a virtio NIC. Shorten the ring by which it receives to 128 descriptors, inside the running VM; leave the other one as it is. A command in the VM from a shell on the host: the guest agent (`virsh qemu-agent-command`), or in a cell `lab.vm.agent.run`.",
            "虚拟机有一块 virtio 网卡。在运行中的虚拟机里，把它接收用的环缩短到 128 个描述符，另一个不要动。从宿主机的 shell 在虚拟机里执行命令：用 guest agent（`virsh qemu-agent-command`），或在单元格里用 `lab.vm.agent.run`。",
        ),
        trains=Bilingual("ethtool -G", "ethtool -G"),
        minutes=5,
        difficulty=Difficulty.EASY,
        practice=Practice.SHELL,
        scheme=Virtio(backend="vhost"),
        check=check_ring,
        solution=(in_vm("sh", "-c", "ethtool -G eth0 rx 128"),),
        hints=(
            Bilingual(
                "`ethtool -g` shows the rings, and how long they may be; `ethtool -G` sets them.",
                "`ethtool -g` 显示环的长度和上限；`ethtool -G` 设置它们。",
            ),
            Bilingual(
                '`lab.vm.agent.run(("ethtool", "-G", "eth0", "rx", "128"), timeout_sec=30)`',
                '`lab.vm.agent.run(("ethtool", "-G", "eth0", "rx", "128"), timeout_sec=30)`',
            ),
        ),
        mistakes=(
            Mistake("refused as a whole", (in_vm("sh", "-c", "ethtool -G eth0 rx 4096"),)),
            Mistake("not at a port of the host", (in_vm("sh", "-c", "ethtool -G p2p1 rx 128"),)),
            Mistake("has 64 descriptors", (in_vm("sh", "-c", "ethtool -G eth0 rx 64"),)),
        ),
    ),
    Task(
        id="08-3",
        title=Bilingual("What 100 rules cost a ping", "100 条规则让 ping 付出多少"),
        text=Bilingual(
            "Between the VM and its peer, ebtables walks through 100 rules for every frame; none of them matches. How long is a round trip from the peer (the namespace `peer`) to the VM (192.0.2.10), as the median of many, in microseconds? Task 02-3 has it without rules.",
            "在虚拟机和对端之间，ebtables 对每一帧都要走过 100 条规则，没有一条匹配。从对端（命名空间 `peer`）到虚拟机（192.0.2.10）的往返时间是多少微秒？取许多次的中位数。没有规则时的值见任务 02-3。",
        ),
        trains=Bilingual("the price of filters", "过滤的代价"),
        minutes=5,
        difficulty=Difficulty.MEDIUM,
        practice=Practice.MEASUREMENT,
        scheme=tuned(Virtio(backend="vhost"), "ebtables-rules=100"),
        check=measured(
            round_trip, within=0.3, unit="µs", factors=(MILLISECONDS, LOOPBACK, TENFOLD)
        ),
        right_answer=as_answer(round_trip),
        unit="µs",
        hints=(PING_THE_VM,),
        mistakes=ROUND_TRIP_MISTAKES,
    ),
    Task(
        id="08-4",
        title=Bilingual("Spin before you sleep", "睡之前先空转"),
        text=Bilingual(
            "KVM can spin for a while before it lets a halted vCPU sleep, so that the next packet finds it awake. Let it spin for 50 µs on this host, in a shell.",
            "vCPU 停下时，KVM 可以先空转一会儿再让它睡，下一个数据包来时它就还醒着。在宿主机的 shell 里让 KVM 空转 50 微秒。",
        ),
        trains=Bilingual("parameters of KVM", "KVM 的参数"),
        minutes=3,
        difficulty=Difficulty.EASY,
        practice=Practice.SHELL,
        setup=(f"echo 0 >{_HALT_POLL}",),
        check=check_halt_poll,
        solution=(f"echo {_WANTED_NS} >{_HALT_POLL}",),
        hints=(
            Bilingual(
                "`ls /sys/module/kvm/parameters` lists what KVM can be told.",
                "`ls /sys/module/kvm/parameters` 列出可以告诉 KVM 的东西。",
            ),
            Bilingual(f"`echo 50000 >{_HALT_POLL}`", f"`echo 50000 >{_HALT_POLL}`"),
        ),
        mistakes=(
            Mistake("counts nanoseconds", (f"echo 50 >{_HALT_POLL}",)),
            Mistake("with a point or a unit", (f"echo 50us >{_HALT_POLL}",)),
            Mistake("taken from everybody else", (f"echo 50000000 >{_HALT_POLL}",)),
        ),
    ),
    Task(
        id="08-5",
        title=Bilingual("Worth most to a stream", "对数据流最值得的"),
        text=Bilingual(
            "Which tuning of the atlas that ships with kvmlab (`Atlas.shipped()`, `docs/atlas.md`) gives a TCP stream from the VM the most throughput? Enter it as it is written there.",
            "在随 kvmlab 提供的调优图集里（`Atlas.shipped()`，`docs/atlas.md`），哪一个调优项给虚拟机发出的 TCP 流带来的吞吐量最大？照那里的写法填写。",
        ),
        trains=Bilingual("reading the atlas", "读懂调优图集"),
        minutes=3,
        difficulty=Difficulty.MEDIUM,
        practice=Practice.READING,
        check=check_best,
        right_answer=lambda site: best_tuning(),
        hints=(
            Bilingual(
                "The figure has the largest effect first, in whichever direction. Look at the side of 1.",
                "图里影响最大的排在最前，不分方向。看它在 1 的哪一边。",
            ),
            Bilingual(
                "`tables.atlas(Atlas.shipped())`: the column of the throughput, and a ratio above 1.",
                "`tables.atlas(Atlas.shipped())`：看吞吐量那一列，比值大于 1。",
            ),
        ),
        mistakes=(
            Mistake("it is a loss", answer="viommu=strict"),
            Mistake("no difference is shown", answer="port-gro=off"),
            Mistake("worth more", answer="zerocopy=on"),
        ),
    ),
)
