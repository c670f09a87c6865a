"""Tasks of notebook 04, SR-IOV."""

from __future__ import annotations

import json
import re
from typing import Final

from kvmlab.course.bilingual import Bilingual
from kvmlab.course.site import Site
from kvmlab.course.task import Difficulty, Mistake, Practice, Reasons, Task
from kvmlab.course.tasks.checks import as_answer, measured
from kvmlab.schemes import SriovVf, Virtio

PF: Final = "/sys/bus/pci/devices/0000:0b:00.0"
SECOND: Final = "0000:0b:00.1"
_VFS: Final = 3


def _make(count: int, folder: str = PF) -> tuple[str, ...]:
    """Return the lines that make VFs and leave them without a driver."""
    return (f"echo 0 >{folder}/sriov_drivers_autoprobe", f"echo {count} >{folder}/sriov_numvfs")


def check_vfs(site: Site) -> Reasons:
    """See that the first port has three VFs, and that no driver of the host has them."""
    count = int(site.read(f"cat {PF}/sriov_numvfs"))
    if count != _VFS:
        other = int(site.read(f"cat /sys/bus/pci/devices/{SECOND}/sriov_numvfs"))
        total = site.read(f"cat {PF}/sriov_totalvfs")
        text = Bilingual(
            "p2p1 has {count} VFs, and three are wanted; it can have {total}.",
            "p2p1 有 {count} 个 VF，要的是三个；它最多可以有 {total} 个。",
        ).format(count=count, total=total)
        if other:
            text = Bilingual(
                text.en + " The VFs are on 0b:00.1, the peer's port.",
                text.zh + " VF 建到了 0b:00.1 上，那是对端的网口。",
            )
        return [text]
    drivers = site.read(f"ls -d {PF}/virtfn*/driver 2>/dev/null | wc -l")
    if drivers != "0":
        return [
            Bilingual(
                "The host's own igbvf has taken {count} of the VFs. Write 0 into `sriov_drivers_autoprobe` before they are made (and into `sriov_numvfs` first, to begin again).",
                "宿主机自己的 igbvf 占用了 {count} 个 VF。要在创建之前把 0 写入 `sriov_drivers_autoprobe`（重来之前，先把 0 写入 `sriov_numvfs`）。",
            ).format(count=drivers)
        ]
    if site.read(f"cat {PF}/sriov_drivers_autoprobe") != "0":
        return [
            Bilingual(
                "The VFs are there, and `sriov_drivers_autoprobe` is still 1: the host's own igbvf takes them as soon as it is loaded.",
                "VF 有了，但 `sriov_drivers_autoprobe` 还是 1：宿主机自己的 igbvf 一旦加载，就会占用它们。",
            )
        ]
    return []


def check_vf_settings(site: Site) -> Reasons:
    """See that VF 1 has its MAC, its VLAN, trust and no spoof check."""
    link = json.loads(site.read("ip -j link show p2p1"))[0]
    vfs = link.get("vfinfo_list", [])
    if len(vfs) < 2:
        return [
            Bilingual(
                "p2p1 has {count} VFs; VF 1 is the second.",
                "p2p1 有 {count} 个 VF；VF 1 是第二个。",
            ).format(count=len(vfs))
        ]
    vf, first = vfs[1], vfs[0]
    wanted = "52:54:00:00:00:07"
    reasons: Reasons = []
    if vf["address"] != wanted:
        where = ""
        if link["address"] == wanted:
            where = "PF"
        elif first["address"] == wanted:
            where = "VF 0"
        text = Bilingual("VF 1 has the MAC {have}.", "VF 1 的 MAC 是 {have}。").format(
            have=vf["address"]
        )
        if where:
            text = Bilingual(
                f"{text.en} The {where} has the one that was meant: `ip link set p2p1 vf 1 …`.",
                f"{text.zh} 要设的地址到了 {where} 上：应当是 `ip link set p2p1 vf 1 …`。",
            )
        reasons.append(text)
    if [vlan.get("vlan") for vlan in vf.get("vlan_list", [])] != [7]:
        reasons.append(Bilingual("VF 1 is not in VLAN 7.", "VF 1 不在 VLAN 7 里。"))
    if not vf["trust"]:
        reasons.append(Bilingual("VF 1 is not trusted.", "VF 1 没有被信任（trust）。"))
    if vf["spoofchk"]:
        reasons.append(
            Bilingual(
                "The spoof check of VF 1 is still on: what its bond sends from another MAC is dropped.",
                "VF 1 的 spoof check 还开着：它的 bond 用别的 MAC 发送时会被丢弃。",
            )
        )
    return reasons


def vf_address(site: Site, number: int = 5, port: str = SECOND) -> str:
    """Compute the address of a VF from the port's offset and stride."""
    folder = f"/sys/bus/pci/devices/{port}"
    offset, stride = (
        int(n) for n in site.read(f"cd {folder}; cat sriov_offset sriov_stride").split()
    )
    bus, slot, function = (int(part, 16) for part in re.split("[:.]", port.removeprefix("0000:")))
    routing_id = (bus << 8 | slot << 3 | function) + offset + number * stride
    return f"{routing_id >> 8:02x}:{routing_id >> 3 & 31:02x}.{routing_id & 7:x}"


def check_vf_address(site: Site) -> Reasons:
    """See that the answer is the address of VF 5 of the second port."""
    answer = site.answer.lower().removeprefix("0000:")
    if answer == vf_address(site):
        return []
    if answer == vf_address(site, 4):
        return [
            Bilingual(
                "That is VF 4: VFs are counted from 0, so VF 5 is the sixth.",
                "这是 VF 4：VF 从 0 数起，VF 5 是第六个。",
            )
        ]
    if answer == vf_address(site, 5, "0000:0b:00.0"):
        return [
            Bilingual(
                "That is VF 5 of the first port. The second begins at 0b:00.1.",
                "这是第一个网口的 VF 5。第二个网口从 0b:00.1 算起。",
            )
        ]
    return [
        Bilingual(
            "Add offset and five strides to the *routing ID* of 0b:00.1, a number of 16 bits: eight for the bus, five for the device, three for the function.",
            "把 offset 和五个 stride 加到 0b:00.1 的*路由 ID* 上。它是 16 位的数：总线八位，设备五位，功能三位。",
        )
    ]


def check_trap(site: Site) -> Reasons:
    """See that the VM on the bridge is reached although the port has a VF."""
    if site.read(f"cat {PF}/sriov_numvfs") == "0":
        return [
            Bilingual(
                "The VF is gone, and whoever had it is cut off. The port was to keep it.",
                "VF 没有了，使用它的虚拟机也就断网了。网口应当保留它。",
            )
        ]
    learning = site.read("cat /sys/class/net/p2p1/brport/learning")
    if learning == "1":
        others = site.read("grep -l 0 /sys/class/net/*/brport/learning | cut -d/ -f5").split()
        if others:
            return [
                Bilingual(
                    "{name} does not learn any more. It is not there that the VM's MAC comes back: the uplink p2p1 still learns it.",
                    "{name} 不再学习了。但虚拟机的 MAC 不是从那里回来的：上行口 p2p1 仍在学习它。",
                ).format(name=others[0])
            ]
        return [
            Bilingual(
                "The bridge still learns at p2p1, where the VM's own broadcasts come back: `bridge fdb show` has its MAC at the wrong port.",
                "网桥仍在 p2p1 上学习，而虚拟机自己的广播正从那里回来：`bridge fdb show` 里，它的 MAC 在错误的端口上。",
            )
        ]
    if not site.pings():
        return [
            Bilingual(
                "The setting is right, and the VM does not answer yet: the bridge may still have the wrong entry, for five minutes.",
                "设置是对的，但虚拟机还没有回答：网桥里错误的条目可能还要保留五分钟。",
            )
        ]
    return []


_PINGS: Final = 50
_INTERRUPTS: Final = (
    "awk '/vfio/ {for (i = 2; i <= 3; i++) n += $i} END {print n + 0}' /proc/interrupts"
)


def interrupts_per_ping(site: Site) -> float:
    """Count the interrupts of the VM's VF on the host for one ping of the peer."""
    netns, vm = site.notes["peer_netns"], site.notes["vm_address"]
    ping = f"ip netns exec {netns} ping -q -n -c {_PINGS} -i 0.02 {vm} >/dev/null"
    before, after = site.read(f"{_INTERRUPTS}; {ping}; {_INTERRUPTS}").split()
    return (int(after) - int(before)) / _PINGS


TASKS: Final = (
    Task(
        id="04-1",
        title=Bilingual("Three VFs by sysfs", "用 sysfs 建三个 VF"),
        text=Bilingual(
            "Make three VFs on p2p1 (0000:0b:00.0), in a shell on the host, in such a way that no driver of the host takes them.",
            "在宿主机的 shell 里给 p2p1（0000:0b:00.0）建三个 VF，不让宿主机的驱动占用它们。",
        ),
        trains=Bilingual("sriov_numvfs and autoprobe", "sriov_numvfs 和 autoprobe"),
        minutes=4,
        difficulty=Difficulty.EASY,
        practice=Practice.SHELL,
        check=check_vfs,
        solution=_make(_VFS),
        hints=(
            Bilingual(
                "Two files of /sys/bus/pci/devices/0000:0b:00.0, and their order matters.",
                "/sys/bus/pci/devices/0000:0b:00.0 里的两个文件，顺序有讲究。",
            ),
            Bilingual(
                "0 into `sriov_drivers_autoprobe`, then 3 into `sriov_numvfs`.",
                "先把 0 写入 `sriov_drivers_autoprobe`，再把 3 写入 `sriov_numvfs`。",
            ),
        ),
        mistakes=(
            Mistake("is still 1", (f"echo 3 >{PF}/sriov_numvfs",)),
            Mistake("it can have 7", (f"echo 8 >{PF}/sriov_numvfs",)),
            Mistake("the peer's port", _make(_VFS, f"/sys/bus/pci/devices/{SECOND}")),
        ),
    ),
    Task(
        id="04-2",
        title=Bilingual("What the PF decides", "PF 决定什么"),
        text=Bilingual(
            "p2p1 has two VFs. The second, VF 1, goes to a VM with a bond inside. Give it the MAC 52:54:00:00:00:07 and VLAN 7, switch its spoof check off and trust it.",
            "p2p1 有两个 VF。第二个，也就是 VF 1，要给一台内部做 bond 的虚拟机。把它的 MAC 设为 52:54:00:00:00:07，VLAN 设为 7，关闭 spoof check，打开 trust。",
        ),
        trains=Bilingual("ip link set PORT vf N", "ip link set 网口 vf N"),
        minutes=5,
        difficulty=Difficulty.MEDIUM,
        practice=Practice.SHELL,
        setup=_make(2),
        check=check_vf_settings,
        solution=(
            "ip link set p2p1 vf 1 mac 52:54:00:00:00:07",
            "ip link set p2p1 vf 1 vlan 7",
            "ip link set p2p1 vf 1 spoofchk off",
            "ip link set p2p1 vf 1 trust on",
        ),
        hints=(
            Bilingual(
                "All four are settings of the PF about its VF: `ip link set p2p1 vf 1 …`; `ip link show p2p1` shows them.",
                "四项都是 PF 对 VF 的设置：`ip link set p2p1 vf 1 …`；`ip link show p2p1` 会显示。",
            ),
            Bilingual(
                "The words are mac, vlan, spoofchk and trust.",
                "关键词是 mac、vlan、spoofchk 和 trust。",
            ),
        ),
        mistakes=(
            Mistake(
                "The VF 0 has the one that was meant",
                ("ip link set p2p1 vf 0 mac 52:54:00:00:00:07",),
            ),
            Mistake(
                "spoof check of VF 1 is still on",
                (
                    "ip link set p2p1 vf 1 mac 52:54:00:00:00:07 vlan 7",
                    "ip link set p2p1 vf 1 trust on",
                    "ip link set p2p1 vf 1 spoofchk on",
                ),
            ),
            Mistake("VF 1 is not in VLAN 7", ("ip link set p2p1 vf 1 mac 52:54:00:00:00:07",)),
        ),
    ),
    Task(
        id="04-3",
        title=Bilingual("Where will VF 5 be?", "VF 5 会在哪里？"),
        text=Bilingual(
            "Read `sriov_offset` and `sriov_stride` of the second port, 0000:0b:00.1, in a shell on the host. Which PCI address would its VF 5 have?",
            "在宿主机的 shell 里读出第二个网口 0000:0b:00.1 的 `sriov_offset` 和 `sriov_stride`。它的 VF 5 会在哪个 PCI 地址？",
        ),
        trains=Bilingual("routing IDs", "路由 ID"),
        minutes=6,
        difficulty=Difficulty.HARD,
        practice=Practice.SHELL,
        check=check_vf_address,
        right_answer=vf_address,
        hints=(
            Bilingual(
                "The routing ID of 0b:00.1 is 0x0b01.",
                "0b:00.1 的路由 ID 是 0x0b01。",
            ),
            Bilingual(
                "0x0b01 + 128 + 5 × 2 = 0x0b8b; its last eight bits are 10001 011.",
                "0x0b01 + 128 + 5 × 2 = 0x0b8b；最后八位是 10001 011。",
            ),
        ),
        mistakes=(
            Mistake("That is VF 4", answer=lambda site: vf_address(site, 4)),
            Mistake(
                "VF 5 of the first port", answer=lambda site: vf_address(site, 5, "0000:0b:00.0")
            ),
            Mistake("Add offset and five strides", answer="0b:10.5"),
        ),
    ),
    Task(
        id="04-4",
        title=Bilingual("Out of the trap", "走出陷阱"),
        text=Bilingual(
            "The VM is on a bridge over p2p1, and p2p1 has a VF. The peer does not reach the VM (192.0.2.10). Mend it, and leave bridge and VF in place.",
            "虚拟机接在 p2p1 上的网桥里，而 p2p1 有一个 VF。对端到达不了虚拟机（192.0.2.10）。请修好它，网桥和 VF 都保留。",
        ),
        trains=Bilingual("a bridge on a PF with VFs", "有 VF 的 PF 上的网桥"),
        minutes=8,
        difficulty=Difficulty.HARD,
        practice=Practice.SHELL,
        scheme=Virtio(backend="vhost", with_vfs=1),
        check=check_trap,
        solution=(
            "bridge link set dev p2p1 learning off",
            "bridge fdb flush dev p2p1 dynamic 2>/dev/null || ip link set p2p1 type bridge_slave fdb_flush",
        ),
        hints=(
            Bilingual(
                "At which port of the bridge is the VM's MAC? `bridge fdb show br BRIDGE`.",
                "虚拟机的 MAC 在网桥的哪个端口上？`bridge fdb show br 网桥`。",
            ),
            Bilingual(
                "The bridge learns it at the uplink, where the VM's broadcasts come back: `bridge link set dev p2p1 learning off`.",
                "网桥是从上行口学到的，虚拟机的广播从那里回来：`bridge link set dev p2p1 learning off`。",
            ),
        ),
        mistakes=(
            Mistake(
                "does not learn any more",
                (
                    "bridge link set dev $(virsh domiflist kvmlab-vm | awk '/bridge/ {print $1}') learning off",
                ),
            ),
            Mistake("still learns at p2p1", ("ip link set p2p1 promisc on",)),
            Mistake("The VF is gone", (f"echo 0 >{PF}/sriov_numvfs",)),
        ),
    ),
    Task(
        id="04-5",
        title=Bilingual("Interrupts of a VF", "VF 的中断"),
        text=Bilingual(
            "The VM has a VF. How many interrupts of its VF does the host take for one ping of the peer (from the namespace `peer` to 192.0.2.10)? Count over at least fifty pings in /proc/interrupts.",
            "虚拟机有一个 VF。对端的一个 ping（从命名空间 `peer` 到 192.0.2.10），宿主机要处理这个 VF 的多少次中断？在 /proc/interrupts 里至少数五十个 ping。",
        ),
        trains=Bilingual("counting interrupts", "数中断"),
        minutes=6,
        difficulty=Difficulty.MEDIUM,
        practice=Practice.MEASUREMENT,
        scheme=SriovVf(vfs=1),
        check=measured(
            interrupts_per_ping,
            within=0.3,
            unit="/ping",
            factors=(
                (
                    float(_PINGS),
                    Bilingual(
                        "That is the count of all fifty pings: divide it by their number.",
                        "这是五十个 ping 的总数：请除以个数。",
                    ),
                ),
                (
                    10.0,
                    Bilingual(
                        "That is far too much for one ping. The counters run since the VF was opened: read them before and after, and take the difference.",
                        "一个 ping 用不了这么多。计数器从 VF 打开时就在累计：请在前后各读一次，取差值。",
                    ),
                ),
            ),
        ),
        right_answer=as_answer(interrupts_per_ping),
        unit="/ping",
        hints=(
            Bilingual(
                "A VF in a VM shows up under the name vfio-msix.",
                "交给虚拟机的 VF 在那里名叫 vfio-msix。",
            ),
            Bilingual(
                "`grep vfio /proc/interrupts`, then `ip netns exec peer ping -q -c 50 -i 0.02 192.0.2.10`, then the first once more.",
                "先 `grep vfio /proc/interrupts`，再 `ip netns exec peer ping -q -c 50 -i 0.02 192.0.2.10`，然后再看一次。",
            ),
        ),
        mistakes=(
            Mistake("divide it by their number", factor=_PINGS),
            Mistake("take the difference", factor=10),
            Mistake("The answer is a number", answer="one for each packet"),
        ),
    ),
)
