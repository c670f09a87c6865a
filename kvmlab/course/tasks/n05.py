"""Tasks of notebook 05, multi-queue."""

from __future__ import annotations

import re
from typing import Final

from kvmlab.course.bilingual import Bilingual
from kvmlab.course.site import Site
from kvmlab.course.task import Difficulty, Mistake, Practice, Reasons, Task
from kvmlab.course.tasks.checks import (
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
    number_in,
    one_interface,
    round_trip,
)
from kvmlab.schemes import Virtio

_FOUR: Final = "<driver name='vhost' queues='4'/>"


def check_four_queues(site: Site) -> Reasons:
    """See that the VM's NIC has four queue pairs, with a worker each."""
    reasons = one_interface(site)
    interface = site.interface
    if interface is None:
        return reasons
    if interface.model != "virtio":
        return [
            Bilingual(
                "The NIC is a {model}; queue pairs are virtio's: `<model type='virtio'/>`.",
                "网卡是 {model}；队列对是 virtio 的：`<model type='virtio'/>`。",
            ).format(model=interface.model)
        ]
    queues = interface.queues or 1
    if queues != 4:
        reasons.append(
            Bilingual(
                "It has {queues} queue pair(s), and four are wanted: the attribute `queues` of `<driver>`.",
                "它有 {queues} 对队列，要的是四对：`<driver>` 的属性 `queues`。",
            ).format(queues=queues)
        )
    workers = len(site.threads.vhost)
    if workers != queues:
        reasons.append(
            Bilingual(
                "{workers} vhost workers run for {queues} queue pairs: QEMU's one main loop serves all of them, as the XML asks for it.",
                "{queues} 对队列有 {workers} 个 vhost 工作线程：全由 QEMU 的一个主循环服务，XML 就是这样要求的。",
            ).format(workers=workers, queues=queues)
        )
    return reasons


def vectors(site: Site) -> int:
    """Return the number of interrupt vectors of the VM's NIC, as QEMU has it."""
    tree = site.read("virsh qemu-monitor-command kvmlab-vm --hmp info qtree")
    block = tree.partition("dev: virtio-net-pci")[2]
    match = re.search(r"vectors = (\d+)", block)
    return int(match[1]) if match else 0


def check_vectors(site: Site) -> Reasons:
    """See that the answer is the number of vectors."""
    value, right, queues = number_in(site.answer), vectors(site), site.interfaces[0].queues or 1
    if value == right:
        return []
    if value == queues:
        return [
            Bilingual(
                "Each queue pair is two virtqueues, one to send and one to receive, and each of them has a vector.",
                "一对队列是两个 virtqueue，一个发送一个接收，各有一个向量。",
            )
        ]
    if value == 2 * queues:
        return [
            Bilingual(
                "Those are the vectors of the queues. The NIC itself has two more: for its configuration and its control queue.",
                "这是队列的向量。网卡自己还有两个：配置和控制队列。",
            )
        ]
    return [
        Bilingual(
            "QEMU has {right} in `info qtree`, under virtio-net-pci: think of the formula 2N + 2 for N = {queues}.",
            "QEMU 的 `info qtree` 里，virtio-net-pci 下是 {right}：想想 N = {queues} 时的公式 2N + 2。",
        ).format(right=right, queues=queues)
    ]


def channels(site: Site) -> tuple[int, int]:
    """Return how many channels the VM could use of its NIC, and uses; zeros where none is found."""
    name = site.in_vm("sh", "-c", f"grep -l {site.mac} /sys/class/net/*/address").stdout
    done = site.in_vm("ethtool", "-l", name.split("/")[4] if "/" in name else "eth0")
    numbers = [int(n) for n in re.findall(r"^Combined:\s+(\d+)", done.stdout, re.MULTILINE)]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (0, 0)


def check_channels(site: Site) -> Reasons:
    """See that the VM uses two of its three channels."""
    offered, used = channels(site)
    if used == 2:
        return []
    if used == 1:
        return [
            Bilingual(
                "The VM uses one channel of {offered}. A number above {offered} is refused as a whole: then nothing has changed.",
                "虚拟机使用 {offered} 个通道中的一个。大于 {offered} 的数会被整个拒绝：那样什么也没有变。",
            ).format(offered=offered)
        ]
    return [
        Bilingual(
            "The VM uses {used} of {offered} channels, and two are wanted.",
            "虚拟机使用 {offered} 个通道中的 {used} 个，要的是两个。",
        ).format(used=used, offered=offered)
    ]


def check_priority(site: Site) -> Reasons:
    """See that both vhost workers run with a nice value below zero."""
    text = site.read("ps -eT -o ni=,comm= | grep vhost-")
    values = [int(line.split()[0]) for line in text.splitlines()]
    if values and all(value < 0 for value in values):
        return []
    if any(value > 0 for value in values):
        return [
            Bilingual(
                "A worker has the nice value {value}: nicer means that it steps back for others. Priority is a value below 0.",
                "有一个工作线程的 nice 值是 {value}：越大越谦让，会让位给别人。要优先，就要小于 0。",
            ).format(value=max(values))
        ]
    unchanged = sum(value == 0 for value in values)
    return [
        Bilingual(
            "{unchanged} of {all} vhost workers still have the nice value 0. It belongs to a thread, not to a process: `ps -eT | grep vhost-` lists the thread ids in its second column.",
            "{all} 个 vhost 工作线程中，有 {unchanged} 个的 nice 值还是 0。nice 值属于线程，不属于进程：`ps -eT | grep vhost-` 的第二列是线程号。",
        ).format(unchanged=unchanged, all=len(values))
    ]


_WORKERS: Final = "$(ps -eT -o tid=,comm= | awk '/vhost-/ {print $1}')"
_ONE_WORKER: Final = "$(ps -eT -o tid=,comm= | awk '/vhost-/ {print $1; exit}')"


TASKS: Final = (
    Task(
        id="05-1",
        title=Bilingual("Four queue pairs by XML", "用 XML 提供四对队列"),
        text=Bilingual(
            "The bridge br-course is there. Attach a virtio NIC on it, MAC 52:54:00:6b:00:0c, with four queue pairs, each of them with a vhost worker of its own.",
            "网桥 br-course 已经建好。插一块接在上面的 virtio 网卡，MAC 为 52:54:00:6b:00:0c，有四对队列，每一对有自己的 vhost 工作线程。",
        ),
        trains=Bilingual("queues in libvirt's XML", "libvirt XML 中的队列"),
        minutes=5,
        difficulty=Difficulty.EASY,
        practice=Practice.SHELL,
        setup=MAKE_BRIDGE,
        check=check_four_queues,
        solution=(attach(interface_xml(VIRTIO, _FOUR)),),
        hints=(
            Bilingual(
                "It is one attribute of `<driver>`; the plan of this notebook has it.",
                "就是 `<driver>` 的一个属性；本篇的计划里有。",
            ),
            Bilingual("`<driver name='vhost' queues='4'/>`", "`<driver name='vhost' queues='4'/>`"),
        ),
        mistakes=(
            Mistake("It has 1 queue pair", (attach(interface_xml(VIRTIO)),)),
            Mistake(
                "QEMU's one main loop",
                (attach(interface_xml(VIRTIO, "<driver name='qemu' queues='4'/>")),),
            ),
            Mistake(
                "It has 2 queue pair",
                (attach(interface_xml(VIRTIO, "<driver name='vhost' queues='2'/>")),),
            ),
        ),
    ),
    Task(
        id="05-2",
        title=Bilingual("Vectors", "中断向量"),
        text=Bilingual(
            "The VM has a virtio NIC with three queue pairs. How many interrupt vectors did QEMU give it? Look in a shell on the host: `virsh qemu-monitor-command kvmlab-vm --hmp info qtree`.",
            "虚拟机有一块带三对队列的 virtio 网卡。QEMU 给了它多少个中断向量？在宿主机的 shell 里看：`virsh qemu-monitor-command kvmlab-vm --hmp info qtree`。",
        ),
        trains=Bilingual("what a queue pair costs", "一对队列的代价"),
        minutes=4,
        difficulty=Difficulty.MEDIUM,
        practice=Practice.SHELL,
        scheme=Virtio(backend="vhost", queues=3, channels=1),
        check=check_vectors,
        right_answer=lambda site: str(vectors(site)),
        hints=(
            Bilingual(
                "The text of this notebook has a formula for N pairs.",
                "本篇的正文里有 N 对队列的公式。",
            ),
            Bilingual("2N + 2, with N = 3.", "按 2N + 2 算，N = 3。"),
        ),
        mistakes=(
            Mistake("each of them has a vector", answer="3"),
            Mistake("two more", answer="6"),
            Mistake("think of the formula", answer="7"),
        ),
    ),
    Task(
        id="05-3",
        title=Bilingual("Use two of three", "三个用两个"),
        text=Bilingual(
            'The VM has a virtio NIC with three queue pairs and uses one. Make it use two. Commands inside the VM: `lab.vm.agent.run(("ethtool", …), timeout_sec=30)` in a cell, or the guest agent from a shell on the host.',
            '虚拟机有一块带三对队列的 virtio 网卡，只用了一对。让它用两对。在虚拟机内执行命令：在单元格里用 `lab.vm.agent.run(("ethtool", …), timeout_sec=30)`，或者在宿主机的 shell 里通过 guest agent。',
        ),
        trains=Bilingual("ethtool -L", "ethtool -L"),
        minutes=5,
        difficulty=Difficulty.MEDIUM,
        practice=Practice.SHELL,
        scheme=Virtio(backend="vhost", queues=3, channels=1),
        check=check_channels,
        solution=(in_vm("sh", "-c", "ethtool -L eth0 combined 2"),),
        hints=(
            Bilingual(
                "`ethtool -l` shows how many there are, `ethtool -L` sets how many are used.",
                "`ethtool -l` 显示有多少，`ethtool -L` 设置用多少。",
            ),
            Bilingual(
                '`lab.vm.agent.run(("ethtool", "-L", "eth0", "combined", "2"), timeout_sec=30)`',
                '`lab.vm.agent.run(("ethtool", "-L", "eth0", "combined", "2"), timeout_sec=30)`',
            ),
        ),
        mistakes=(
            Mistake("refused as a whole", (in_vm("sh", "-c", "ethtool -L eth0 combined 8"),)),
            Mistake("uses one channel", (in_vm("sh", "-c", "ethtool -L eth0 rx 2 tx 2"),)),
            Mistake("uses 3 of 3", (in_vm("sh", "-c", "ethtool -L eth0 combined 3"),)),
        ),
    ),
    Task(
        id="05-4",
        title=Bilingual("Does a ping care?", "ping 在乎吗？"),
        text=Bilingual(
            "The VM has a NIC with four queue pairs. How long is a round trip from the peer (the namespace `peer`) to the VM (192.0.2.10), as the median of many, in microseconds? Compare it with task 02-3.",
            "虚拟机的网卡有四对队列。从对端（命名空间 `peer`）到虚拟机（192.0.2.10）的往返时间是多少微秒？取许多次的中位数，再和任务 02-3 比较。",
        ),
        trains=Bilingual("what more queues do not change", "多队列改变不了什么"),
        minutes=4,
        difficulty=Difficulty.EASY,
        practice=Practice.MEASUREMENT,
        scheme=Virtio(backend="vhost", queues=4),
        check=measured(
            round_trip, within=0.3, unit="µs", factors=(MILLISECONDS, LOOPBACK, TENFOLD)
        ),
        right_answer=as_answer(round_trip),
        unit="µs",
        hints=(PING_THE_VM,),
        mistakes=ROUND_TRIP_MISTAKES,
    ),
    Task(
        id="05-5",
        title=Bilingual("Workers first", "工作线程优先"),
        text=Bilingual(
            "The VM has a NIC with two queue pairs, and two vhost workers serve it. Other programs of the host are to step back for them: give each worker a nice value below 0.",
            "虚拟机的网卡有两对队列，由两个 vhost 工作线程服务。宿主机上的其他程序要给它们让路：把每个线程的 nice 值设到 0 以下。",
        ),
        trains=Bilingual("vhost workers are threads of the host", "vhost 工作线程是宿主机的线程"),
        minutes=5,
        difficulty=Difficulty.MEDIUM,
        practice=Practice.SHELL,
        scheme=Virtio(backend="vhost", queues=2, channels=1),
        check=check_priority,
        solution=(f"renice -n -5 -p {_WORKERS}",),
        hints=(
            Bilingual(
                "`ps -eT | grep vhost-` lists the threads; their ids are in the second column.",
                "`ps -eT | grep vhost-` 列出线程；线程号在第二列。",
            ),
            Bilingual("`renice -n -5 -p THREAD`", "`renice -n -5 -p 线程号`"),
        ),
        mistakes=(
            Mistake("2 of 2 vhost workers", ("renice -n -5 -p $(pgrep -o -f guest=kvmlab-vm)",)),
            Mistake("1 of 2 vhost workers", (f"renice -n -5 -p {_ONE_WORKER}",)),
            Mistake("steps back for others", (f"renice -n 5 -p {_WORKERS}",)),
        ),
    ),
)
