"""Tasks of notebook 07, live migration: two hosts, and a VM that is moved by hand."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any, Final

from kvmlab.changes.second_host import FOLDER
from kvmlab.course.bilingual import Bilingual
from kvmlab.course.site import Site
from kvmlab.course.task import Difficulty, Mistake, Practice, Reasons, Task
from kvmlab.course.tasks.checks import BRIDGE, MAKE_BRIDGE, VM, chosen, in_digits, number_in
from kvmlab.schemes import Virtio

#: The libvirt of host B, as it is reached from a shell on host A.
HOST_B: Final = f"qemu+unix:///system?socket={FOLDER}/run/libvirt-sock"
_SOCKET: Final = f"unix://{FOLDER}/by-hand.sock"
#: What the peer's ping printed while the VM migrated; it goes with host B.
_RECORD: Final = f"{FOLDER}/echoes"
#: Its start time: another process with its number has another one.
_START: Final = "cut -d' ' -f22 /proc/$pid/stat"
#: Milliseconds between two echoes of the record.
_EVERY_MS: Final = 20
_TOLERANCE: Final = 0.1
_PORT: Final = "p2p1"


def migrate_there(*options: str) -> str:
    """Return the line that moves the VM to host B."""
    words = " ".join(("virsh migrate --live", *options))
    return f"{words} {VM} '{HOST_B}' --migrateuri {_SOCKET}"


def check_moved(site: Site) -> Reasons:
    """See that the VM runs on host B, and answers its peer there."""
    here = site.read(f"virsh domstate {VM}")
    there = site.read(f"virsh -c '{HOST_B}' domstate {VM} 2>/dev/null")
    if there == "paused":
        return [
            Bilingual(
                "The VM is on host B and stands still: it is paused there. Live means that it goes on by itself; leave out `--suspend`, or resume it there.",
                "虚拟机已在宿主机 B 上，但停着：它在那里处于暂停状态。热迁移之后它应当自己接着运行；去掉 `--suspend`，或者在那边恢复运行。",
            )
        ]
    if there == "shut off":
        return [
            Bilingual(
                "Host B has a definition of the VM, and nothing that runs: an XML went there, no memory. Here the VM is {here}.",
                "宿主机 B 上有虚拟机的定义，但没有运行：过去的只是 XML，不是内存。这边的虚拟机：{here}。",
            ).format(here=here)
        ]
    if there != "running":
        return [
            Bilingual(
                "Here the VM is {here}, and host B does not have it. Two things are to be named: the libvirt of host B as the destination; and, since the two hosts share no network, a socket of the file system where the two QEMUs meet (`--migrateuri`).",
                "这边的虚拟机：{here}；宿主机 B 上没有它。要写明两样：目的地是宿主机 B 的 libvirt；两台宿主机没有共同的网络，所以还要指定两个 QEMU 碰头的文件系统套接字（`--migrateuri`）。",
            ).format(here=here)
        ]
    if not site.pings():
        return [
            Bilingual(
                "The VM runs on host B, but the peer gets no answer from it.",
                "虚拟机在宿主机 B 上运行，但对端得不到它的应答。",
            )
        ]
    return []


def links_of_b(site: Site) -> dict[str, dict[str, Any]]:
    """Return the links of host B by name."""
    text = site.read("ip -n hostb -j -d link show")
    return {link["ifname"]: link for link in json.loads(text or "[]")}


def check_bridge_of_b(site: Site) -> Reasons:
    """See that host B has a bridge of the name, up, with its port in it."""
    links = links_of_b(site)
    bridge = links.get(BRIDGE)
    if bridge is None or bridge.get("linkinfo", {}).get("info_kind") != "bridge":
        return [
            Bilingual(
                "Host B has no bridge {bridge}: it is a network namespace of its own, `hostb`. `ip -n hostb link` lists what is in it.",
                "宿主机 B 上没有网桥 {bridge}：它有自己的网络命名空间 `hostb`。`ip -n hostb link` 列出里面有什么。",
            ).format(bridge=BRIDGE)
        ]
    reasons: Reasons = []
    if links["p1p2"].get("master") != BRIDGE:
        reasons.append(
            Bilingual(
                "The bridge is there, and the port p1p2 of host B does not belong to it: a VM would arrive, and reach nobody.",
                "网桥有了，但宿主机 B 的网口 p1p2 不在里面：虚拟机能过来，却谁也到不了。",
            )
        )
    if "UP" not in bridge["flags"]:
        reasons.append(
            Bilingual(
                "The bridge is down: `ip -n hostb link set {bridge} up`.",
                "网桥没有启用：`ip -n hostb link set {bridge} up`。",
            ).format(bridge=BRIDGE)
        )
    return reasons


def check_learning(site: Site) -> Reasons:
    """See that the bridge learns at the tap, and not at the port."""
    read = site.read(f"cat /sys/class/net/{_PORT}/brport/learning")
    taps = [i.target_dev for i in site.interfaces if i.target_dev]
    at_tap = [site.read(f"cat /sys/class/net/{tap}/brport/learning") for tap in taps]
    if read == "0" and "0" not in at_tap:
        return []
    if "0" in at_tap:
        return [
            Bilingual(
                "The bridge does not learn at the tap any more. What the VM sends is to be learnt; what is wrong comes in at the port.",
                "网桥不再在 tap 上学习。虚拟机发出的应当学；错的东西是从网口进来的。",
            )
        ]
    if site.read(f"cat /sys/class/net/{_PORT}/brport/unicast_flood") == "0":
        return [
            Bilingual(
                "That was flooding: what the bridge has not learnt would then not be sent out of the port at all. The wrong entry comes from learning.",
                "那是泛洪：关掉之后，网桥没学到的就根本不会从网口发出去。错误的表项来自学习。",
            )
        ]
    return [
        Bilingual(
            "The bridge still learns at {port}. A shorter ageing time only makes it forget sooner, and not within the seconds of a migration.",
            "网桥仍在 {port} 上学习。缩短老化时间只是忘得早一些，来不及在迁移的几秒里起作用。",
        ).format(port=_PORT)
    ]


def answers(site: Site) -> tuple[list[float], int]:
    """Return when the echoes of the record were answered, in ms, and how many never were."""
    text = site.read(f"cat {_RECORD}")
    pairs = re.findall(r"^\[(\d+\.\d+)\] .*icmp_seq=(\d+) .*time=", text, re.MULTILINE)
    sequence = [int(number) for _, number in pairs]
    lost = max(sequence) - min(sequence) + 1 - len(set(sequence)) if sequence else 0
    return sorted(1000 * float(at) for at, _ in pairs), lost


def hole(site: Site) -> float:
    """Return the longest time of the record without an answer, in ms."""
    times, _ = answers(site)
    return max((after - at for at, after in pairwise(times)), default=0.0)


def check_hole(site: Site) -> Reasons:
    """See that the answer is the hole of the record."""
    value, true = number_in(site.answer), hole(site)
    if value is None:
        return [Bilingual("The answer is a number, in ms.", "答案是一个数，单位是毫秒。")]
    if abs(value - true) <= _TOLERANCE * true:
        return []
    times, lost = answers(site)
    if value == lost:
        return [
            Bilingual(
                "That is the number of echoes that were never answered. Time is asked for: one is sent every {every} ms, and some that were sent in the hole were answered after it.",
                "这是始终没有应答的个数。问的是时间：每 {every} 毫秒发一个，而且空洞里发出的有些在之后才得到应答。",
            ).format(every=_EVERY_MS)
        ]
    if abs(value - true / 1000) <= _TOLERANCE * true / 1000:
        return [
            Bilingual(
                "Those are seconds, and milliseconds are asked for.",
                "这是秒，问的是毫秒。",
            )
        ]
    if abs(value - (times[-1] - times[0])) <= _TOLERANCE * (times[-1] - times[0]):
        return [
            Bilingual(
                "That is the length of the whole record. Nearly all of it is pre-copy, in which the VM answers.",
                "这是整个记录的长度。其中大部分是预复制，虚拟机一直在应答。",
            )
        ]
    return [
        Bilingual(
            "{value:g} ms is not the longest distance between two answers. The number in brackets at the begin of each line is the time of an answer, in seconds.",
            "{value:g} 毫秒不是相邻两个应答之间最长的间隔。每行开头方括号里的数是应答的时刻，单位是秒。",
        ).format(value=value)
    ]


def _record_length(site: Site) -> str:
    times, _ = answers(site)
    return in_digits(times[-1] - times[0])


TASKS: Final = (
    Task(
        id="07-1",
        title=Bilingual("Move it by hand", "手工迁移"),
        text=Bilingual(
            f"The VM has a virtio NIC, and there is a host B. Its libvirt answers at `{HOST_B}`. Migrate the running VM to it, in a shell on the host, by `virsh migrate`. The two hosts share no network: let the QEMUs meet at `{_SOCKET}`.",
            f"虚拟机有一块 virtio 网卡，还有一台宿主机 B，它的 libvirt 地址是 `{HOST_B}`。在宿主机的 shell 里用 `virsh migrate` 把运行中的虚拟机迁移过去。两台宿主机没有共同的网络：让两个 QEMU 在 `{_SOCKET}` 碰头。",
        ),
        trains=Bilingual("virsh migrate", "virsh migrate"),
        minutes=7,
        difficulty=Difficulty.MEDIUM,
        practice=Practice.SHELL,
        second_host=True,
        check=check_moved,
        solution=(migrate_there(),),
        hints=(
            Bilingual(
                "The plan of this notebook prints the command. `virsh -c URI list --all` shows what host B has.",
                "本篇的计划会打印这条命令。`virsh -c URI list --all` 显示宿主机 B 上有什么。",
            ),
            Bilingual(
                "`virsh migrate --live kvmlab-vm URI --migrateuri SOCKET`; put the URI in quotes, for its question mark.",
                "`virsh migrate --live kvmlab-vm URI --migrateuri SOCKET`；URI 里有问号，要加引号。",
            ),
            Bilingual(f"`{migrate_there()}`", f"`{migrate_there()}`"),
        ),
        mistakes=(
            Mistake(
                "a socket of the file system where the two QEMUs meet",
                (f"virsh migrate --live {VM} '{HOST_B}'",),
            ),
            Mistake(
                "an XML went there, no memory",
                (
                    f"virsh dumpxml {VM} --inactive >/tmp/vm.xml && "
                    f"virsh -c '{HOST_B}' define /tmp/vm.xml; rm /tmp/vm.xml",
                ),
            ),
            Mistake("it is paused there", (migrate_there("--suspend"),)),
        ),
    ),
    Task(
        id="07-2",
        title=Bilingual("The same name on both hosts", "两边同名"),
        text=Bilingual(
            f"On this host VMs are on the bridge {BRIDGE}, and their XML says so. On host B (the network namespace `hostb`) there is none of that name, and none of them could come. Make it there, in a shell on the host: up, and with the port p1p2 of host B in it.",
            f"这台宿主机上的虚拟机都接在网桥 {BRIDGE} 上，XML 里就是这么写的。宿主机 B（网络命名空间 `hostb`）上没有这个名字的网桥，它们都迁不过去。在宿主机的 shell 里给它建一个：启用，并把宿主机 B 的网口 p1p2 接进去。",
        ),
        trains=Bilingual("what an XML refers to", "XML 引用了什么"),
        minutes=6,
        difficulty=Difficulty.EASY,
        practice=Practice.SHELL,
        second_host=True,
        setup=MAKE_BRIDGE,
        check=check_bridge_of_b,
        solution=(
            f"ip -n hostb link add {BRIDGE} type bridge",
            f"ip -n hostb link set p1p2 master {BRIDGE}",
            f"ip -n hostb link set {BRIDGE} up",
        ),
        hints=(
            Bilingual(
                "`ip -n hostb …` does in host B what `ip …` does here.",
                "`ip -n hostb …` 在宿主机 B 里做 `ip …` 在这边做的事。",
            ),
            Bilingual(
                "Three commands: `link add … type bridge`, `link set p1p2 master …`, `link set … up`.",
                "三条命令：`link add … type bridge`、`link set p1p2 master …`、`link set … up`。",
            ),
        ),
        mistakes=(
            Mistake("a network namespace of its own", (f"ip link add {BRIDGE} type bridge",)),
            Mistake(
                "reach nobody",
                (
                    f"ip -n hostb link add {BRIDGE} type bridge",
                    f"ip -n hostb link set {BRIDGE} up",
                ),
            ),
            Mistake(
                "The bridge is down",
                (
                    f"ip -n hostb link add {BRIDGE} type bridge",
                    f"ip -n hostb link set p1p2 master {BRIDGE}",
                ),
            ),
        ),
    ),
    Task(
        id="07-3",
        title=Bilingual("A bridge that learns nothing wrong", "不会学错的网桥"),
        text=Bilingual(
            f"The VM is on the bridge kvmlab0 with the port {_PORT}, and is to get a team of virtio and a VF. Prepare the bridge in a shell on the host, so that it does not believe the VM to be beyond {_PORT} when the VF goes: the remedy `no-learning` of this notebook.",
            f"虚拟机接在网桥 kvmlab0 上，网口是 {_PORT}，它将得到由 virtio 和 VF 组成的一对网卡。在宿主机的 shell 里准备好网桥，使它在 VF 拔走时不会以为虚拟机在 {_PORT} 那一边：即本篇的办法 `no-learning`。",
        ),
        trains=Bilingual("bridge link", "bridge link"),
        minutes=4,
        difficulty=Difficulty.MEDIUM,
        practice=Practice.SHELL,
        scheme=Virtio(backend="vhost"),
        check=check_learning,
        solution=(f"bridge link set dev {_PORT} learning off",),
        hints=(
            Bilingual(
                "Two ports belong to the bridge. At which of them does a wrong entry come in?",
                "网桥有两个端口。错误的表项是从哪一个进来的？",
            ),
            Bilingual(
                "`bridge link set dev PORT learning off`", "`bridge link set dev PORT learning off`"
            ),
        ),
        mistakes=(
            Mistake(
                "does not learn at the tap",
                (
                    "for tap in /sys/class/net/kvmlab0/brif/vnet*; do bridge link set dev ${tap##*/} learning off; done",
                ),
            ),
            Mistake("That was flooding", (f"bridge link set dev {_PORT} flood off",)),
            Mistake(
                "only makes it forget sooner", ("ip link set kvmlab0 type bridge ageing_time 1000",)
            ),
        ),
    ),
    Task(
        id="07-4",
        title=Bilingual("The hole, from the peer's record", "从对端的记录看空洞"),
        text=Bilingual(
            f"A moment ago the VM migrated to host B and came home. On the way out the peer sent it 50 echoes each second; `{_RECORD}` has what its `ping -D` printed. How long did the peer hear nothing at most, in milliseconds?",
            f"刚才虚拟机迁移到宿主机 B 又回来了。去的路上，对端每秒向它发 50 个 ping；`{_RECORD}` 是 `ping -D` 的输出。对端最长有多少毫秒什么也没收到？",
        ),
        trains=Bilingual("measuring an interruption", "测量中断"),
        minutes=7,
        difficulty=Difficulty.HARD,
        practice=Practice.MEASUREMENT,
        second_host=True,
        setup=(
            f"ip netns exec peer ping -D -n -i 0.02 198.51.100.10 >{_RECORD} 2>&1 & "
            f"pid=$!; began=$({_START}); sleep 1; {migrate_there()} && sleep 1; "
            f'[ "$({_START})" != "$began" ] || kill $pid; grep -q time= {_RECORD}',
            f"virsh -c '{HOST_B}' migrate --live {VM} qemu:///system --migrateuri {_SOCKET}.home",
        ),
        check=check_hole,
        right_answer=lambda site: in_digits(hole(site)),
        unit="ms",
        hints=(
            Bilingual(
                "The brackets at the begin of a line have the time of an answer, in seconds. The largest distance of two lines is asked for.",
                "行首方括号里是应答的时刻，单位是秒。问的是相邻两行的最大间隔。",
            ),
            Bilingual(
                f"`awk -F '[][]' '/time=/ {{ if (t && $2 - t > most) most = $2 - t; t = $2 }} END {{ print 1000 * most }}' {_RECORD}`",
                f"`awk -F '[][]' '/time=/ {{ if (t && $2 - t > most) most = $2 - t; t = $2 }} END {{ print 1000 * most }}' {_RECORD}`",
            ),
        ),
        mistakes=(
            Mistake("Those are seconds", factor=0.001),
            Mistake("never answered", answer=lambda site: str(answers(site)[1])),
            Mistake("the whole record", answer=_record_length),
        ),
    ),
    Task(
        id="07-5",
        title=Bilingual("Longer than the downtime", "比停机时间更长"),
        text=Bilingual(
            "libvirt says a downtime of 396 ms, and the peer heard nothing for 413 ms. Where do the other 17 ms come from?",
            "libvirt 报告停机时间 396 毫秒，对端却有 413 毫秒没有听到它。另外 17 毫秒从哪里来？",
        ),
        trains=Bilingual("downtime and hole", "停机时间与空洞"),
        minutes=3,
        difficulty=Difficulty.MEDIUM,
        practice=Practice.READING,
        choices=(
            Bilingual("the clocks of the two hosts differ", "两台宿主机的时钟不一致"),
            Bilingual("pre-copy, which copies all memory", "预复制，要复制全部内存"),
            Bilingual(
                "bridges have to hear where the VM is now, and the next echo has to come",
                "网桥要先知道虚拟机在哪里，还要等下一个 ping 到来",
            ),
            Bilingual("the guest starts anew on host B", "虚拟机在宿主机 B 上重新启动"),
        ),
        check=chosen(
            3,
            Bilingual(
                "Here both hosts share one clock, and so does the peer; between real hosts this is a good question.",
                "这里两台宿主机和对端共用一个时钟；在真实的宿主机之间，这是个好问题。",
            ),
            Bilingual(
                "While memory is copied the VM runs and answers: nothing is missing in that part of the figure.",
                "复制内存时虚拟机在运行，也在应答：图中那一段什么也没缺。",
            ),
            Bilingual(
                "Downtime ends when the vCPUs run. The peer hears of it after the announcement, with the next of its 50 echoes each second.",
                "vCPU 一运行，停机就结束了。对端要等到通告之后，在每秒 50 个 ping 的下一个才听到。",
            ),
            Bilingual(
                "Its uptime says that it does not: it goes on with the next instruction.",
                "看它的 uptime 就知道不是：它从下一条指令接着运行。",
            ),
        ),
        right_answer=lambda site: "3",
        hints=(
            Bilingual(
                "Downtime is what QEMU knows. Who else has to notice that the VM is back?",
                "停机时间是 QEMU 知道的。还有谁要察觉虚拟机回来了？",
            ),
        ),
        mistakes=(
            Mistake("share one clock", answer="1"),
            Mistake("runs and answers", answer="2"),
            Mistake("does not: it goes on", answer="4"),
        ),
    ),
)
