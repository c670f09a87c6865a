"""Tasks of notebook 03, PCI passthrough."""

from __future__ import annotations

from typing import Final

from kvmlab.course.bilingual import Bilingual
from kvmlab.course.site import Site
from kvmlab.course.task import Difficulty, Mistake, Practice, Reasons, Task
from kvmlab.course.tasks.checks import (
    LOOPBACK,
    MILLISECONDS,
    ROUND_TRIP_MISTAKES,
    TENFOLD,
    as_answer,
    attach,
    measured,
    round_trip,
)
from kvmlab.schemes import PciPassthrough

NEIGHBOUR: Final = "0000:04:00.1"
PORT: Final = "0000:04:00.0"
_FOLDER: Final = "/sys/bus/pci/devices"


def _to_vfio(address: str) -> tuple[str, ...]:
    """Return the lines that give a function to VFIO by hand."""
    return (
        "modprobe vfio-pci",
        f"echo vfio-pci >{_FOLDER}/{address}/driver_override",
        f"echo {address} >{_FOLDER}/{address}/driver/unbind",
        f"echo {address} >/sys/bus/pci/drivers_probe",
    )


def driver(site: Site, address: str) -> str:
    """Return the driver of a function; empty where none is bound."""
    return site.read(f"basename $(readlink {_FOLDER}/{address}/driver)")


def check_group(site: Site) -> Reasons:
    """See that the answer is the other function of the port's IOMMU group."""
    answer = site.answer.lower().removeprefix("0000:")
    members = site.read(f"ls {_FOLDER}/{PORT}/iommu_group/devices").split()
    others = [member.removeprefix("0000:") for member in members if member != PORT]
    if answer in others:
        return []
    if answer == PORT.removeprefix("0000:"):
        return [
            Bilingual(
                "That is p1p1 itself. Who else is in its group? The group is the directory `iommu_group/devices` of the function.",
                "这就是 p1p1 自己。它的组里还有谁？组就是该功能的 `iommu_group/devices` 目录。",
            )
        ]
    group = site.read(f"basename $(readlink {_FOLDER}/0000:{answer}/iommu_group)")
    if not group:
        return [
            Bilingual(
                "There is no PCI function of that address; it is written as 04:00.0: bus, device, function.",
                "没有这个地址的 PCI 功能；地址写作 04:00.0：总线、设备、功能。",
            )
        ]
    own = site.read(f"basename $(readlink {_FOLDER}/{PORT}/iommu_group)")
    return [
        Bilingual(
            f"{answer} is in the group {group}, and p1p1 in the group {own}: it may stay with the host.",
            f"{answer} 在组 {group} 里，p1p1 在组 {own} 里：它可以留在宿主机上。",
        )
    ]


def check_neighbour(site: Site) -> Reasons:
    """See that VFIO has the neighbour, and the host still has the port."""
    bound, own = driver(site, NEIGHBOUR), driver(site, PORT)
    reasons: Reasons = []
    if own != "e1000e":
        reasons.append(
            Bilingual(
                "04:00.0 has lost its driver e1000e, and with it the host its interface p1p1. It is the neighbour, 04:00.1, that was to go.",
                "04:00.0 失去了驱动 e1000e，宿主机也就没有了接口 p1p1。应该交出去的是邻居 04:00.1。",
            )
        )
    if bound == "vfio-pci":
        return reasons
    override = site.read(f"cat {_FOLDER}/{NEIGHBOUR}/driver_override")
    if not bound and override == "vfio-pci":
        text = Bilingual(
            "04:00.1 has no driver. The name is in driver_override; now the kernel has to look for a driver again: `drivers_probe`.",
            "04:00.1 没有驱动。driver_override 里已经写了名字；还要让内核重新寻找驱动：`drivers_probe`。",
        )
    elif not bound:
        text = Bilingual(
            "04:00.1 has no driver: unbinding is half of it. Nobody says yet that vfio-pci is to have it: `driver_override`.",
            "04:00.1 没有驱动：解绑只是一半。还没有说明该由 vfio-pci 接手：`driver_override`。",
        )
    elif override == "vfio-pci":
        text = Bilingual(
            "04:00.1 still belongs to {driver}: driver_override counts when a function is bound the next time. Unbind it first.",
            "04:00.1 仍然属于 {driver}：driver_override 在下一次绑定时才起作用。请先解绑。",
        ).format(driver=bound)
    else:
        text = Bilingual(
            "04:00.1 still belongs to {driver}.", "04:00.1 仍然属于 {driver}。"
        ).format(driver=bound)
    return [text, *reasons]


def check_assigned(site: Site) -> Reasons:
    """See that the VM has the function 04:00.0, with libvirt managing its driver."""
    addresses = []
    for device in site.devices:
        address = device.find("source/address")
        if address is not None and address.get("bus"):
            parts = [int(str(address.get(k)), 16) for k in ("bus", "slot", "function")]
            addresses.append("{:02x}:{:02x}.{:x}".format(*parts))
    if "04:00.0" in addresses:
        return []
    if addresses:
        return [
            Bilingual(
                "The VM has {have}, not 04:00.0. Function and slot are two numbers: `slot='0x00' function='0x0'`.",
                "虚拟机得到的是 {have}，不是 04:00.0。slot 和 function 是两个数：`slot='0x00' function='0x0'`。",
            ).format(have=", ".join(addresses))
        ]
    if driver(site, PORT) == "e1000e":
        return [
            Bilingual(
                "The VM has no function of the host, and e1000e still drives 04:00.0; so the group is not viable for 04:00.1 either. Without `managed='yes'` libvirt leaves the driver to you; an address that is not there it refuses.",
                "虚拟机没有得到宿主机的功能，04:00.0 仍由 e1000e 驱动，因此这个组对 04:00.1 也不可用（not viable）。没有 `managed='yes'` 时，libvirt 不更换驱动；地址不存在时，它会拒绝。",
            )
        ]
    return [
        Bilingual(
            "04:00.0 has left e1000e, and no VM has it: attach it as a `<hostdev>`.",
            "04:00.0 已经离开 e1000e，但没有虚拟机得到它：请用 `<hostdev>` 插上。",
        )
    ]


def check_reset(site: Site) -> Reasons:
    """See that the answer is the method by which the kernel resets the port first."""
    methods = site.read(f"cat {_FOLDER}/{PORT}/reset_method").split()
    answer = site.answer.lower()
    if answer == methods[0]:
        return []
    if answer in methods:
        return [
            Bilingual(
                "The port knows {answer} as well, and the kernel tries the methods in the order of the file: `{order}`.",
                "这个网口也支持 {answer}，但内核按文件里的顺序尝试：`{order}`。",
            ).format(answer=answer, order=" ".join(methods))
        ]
    return [
        Bilingual(
            "{answer} is not in the file reset_method of 0000:04:00.0; it lists the methods by their names, such as bus.",
            "0000:04:00.0 的 reset_method 文件里没有 {answer}；里面是方法的名字，例如 bus。",
        ).format(answer=site.answer)
    ]


def _hostdev(function: str = "0x0", managed: str = "yes", bus: str = "0x04") -> str:
    address = "<address domain='0x0000' bus='BUS' slot='0x00' function='FN'/>"
    lines = (
        "<hostdev mode='subsystem' type='pci' managed='YES'>".replace("YES", managed),
        "  <source>" + address.replace("BUS", bus).replace("FN", function) + "</source>",
        "</hostdev>",
    )
    return attach("\n".join(lines))


TASKS: Final = (
    Task(
        id="03-1",
        title=Bilingual("Who has to go with it?", "谁必须一起交出去？"),
        text=Bilingual(
            "The port p1p1 is the function 04:00.0. In a shell on the host, find out which other function its IOMMU group has, and enter its address.",
            "网口 p1p1 是功能 04:00.0。在宿主机的 shell 里找出它的 IOMMU 组里另一个功能，填写它的地址。",
        ),
        trains=Bilingual("IOMMU groups in sysfs", "sysfs 里的 IOMMU 组"),
        minutes=3,
        difficulty=Difficulty.EASY,
        practice=Practice.SHELL,
        check=check_group,
        right_answer=lambda site: NEIGHBOUR,
        hints=(
            Bilingual(
                "Each function has a link `iommu_group` in /sys/bus/pci/devices/ADDRESS.",
                "每个功能在 /sys/bus/pci/devices/地址 里有一个链接 `iommu_group`。",
            ),
            Bilingual(
                "`ls /sys/bus/pci/devices/0000:04:00.0/iommu_group/devices`",
                "`ls /sys/bus/pci/devices/0000:04:00.0/iommu_group/devices`",
            ),
        ),
        mistakes=(
            Mistake("That is p1p1 itself", answer="04:00.0"),
            Mistake("it may stay with the host", answer="0b:00.0"),
            Mistake("no PCI function of that address", answer="16"),
        ),
    ),
    Task(
        id="03-2",
        title=Bilingual("Give a function to VFIO", "把一个功能交给 VFIO"),
        text=Bilingual(
            "Give the neighbour 0000:04:00.1 to the driver vfio-pci, by sysfs alone, and leave 0000:04:00.0 with the host.",
            "只用 sysfs，把邻居 0000:04:00.1 交给驱动 vfio-pci，0000:04:00.0 留给宿主机。",
        ),
        trains=Bilingual("drivers of PCI functions", "PCI 功能的驱动"),
        minutes=7,
        difficulty=Difficulty.MEDIUM,
        practice=Practice.SHELL,
        check=check_neighbour,
        solution=_to_vfio(NEIGHBOUR),
        hints=(
            Bilingual(
                "Three files: `driver_override` and `driver/unbind` of the function, and `/sys/bus/pci/drivers_probe`.",
                "三个文件：功能的 `driver_override` 和 `driver/unbind`，以及 `/sys/bus/pci/drivers_probe`。",
            ),
            Bilingual(
                "Write vfio-pci into the first, then the address 0000:04:00.1 into the second and the third. The module has to be there: `modprobe vfio-pci`.",
                "第一个写入 vfio-pci，再把地址 0000:04:00.1 写入第二个和第三个。模块要先加载：`modprobe vfio-pci`。",
            ),
        ),
        mistakes=(
            Mistake("unbinding is half of it", (_to_vfio(NEIGHBOUR)[2],)),
            Mistake("Unbind it first", _to_vfio(NEIGHBOUR)[:2]),
            Mistake("It is the neighbour", _to_vfio(PORT)),
        ),
    ),
    Task(
        id="03-3",
        title=Bilingual("Assign it by XML", "用 XML 直通"),
        text=Bilingual(
            "The neighbour 04:00.1 is with VFIO already. Write a `<hostdev>` and give the function 04:00.0 to the running VM kvmlab-vm; let libvirt change its driver and change it back.",
            "邻居 04:00.1 已经交给 VFIO。写一个 `<hostdev>`，把功能 04:00.0 交给运行中的虚拟机 kvmlab-vm；驱动的更换和恢复由 libvirt 负责。",
        ),
        trains=Bilingual("a hostdev in libvirt's XML", "libvirt XML 中的 hostdev"),
        minutes=6,
        difficulty=Difficulty.MEDIUM,
        practice=Practice.SHELL,
        setup=_to_vfio(NEIGHBOUR),
        check=check_assigned,
        solution=(_hostdev(),),
        hints=(
            Bilingual(
                "`print(function.hostdev().xml())` in the notebook shows the element for this very function.",
                "笔记本里的 `print(function.hostdev().xml())` 就是这个功能的元素。",
            ),
            Bilingual(
                "`<hostdev mode='subsystem' type='pci' managed='yes'>` with a `<source>` that holds domain, bus, slot and function in hexadecimal.",
                "`<hostdev mode='subsystem' type='pci' managed='yes'>`，里面的 `<source>` 用十六进制写 domain、bus、slot 和 function。",
            ),
        ),
        mistakes=(
            Mistake("not viable for 04:00.1", (_hostdev(function="0x1"),)),
            Mistake("leaves the driver to you", (_hostdev(managed="no"),)),
            Mistake("it refuses", (_hostdev(bus="0x40"),)),
        ),
    ),
    Task(
        id="03-4",
        title=Bilingual("A round trip without the host", "不经宿主机的往返"),
        text=Bilingual(
            "The VM has the whole NIC now. How long is a round trip from the peer (the namespace `peer`) to the VM (198.51.100.10), as the median of many, in microseconds?",
            "整块网卡现在归虚拟机。从对端（命名空间 `peer`）到虚拟机（198.51.100.10）的往返时间是多少微秒？取许多次的中位数。",
        ),
        trains=Bilingual("measuring a latency", "测量延迟"),
        minutes=4,
        difficulty=Difficulty.EASY,
        practice=Practice.MEASUREMENT,
        scheme=PciPassthrough(group="take"),
        check=measured(
            round_trip, within=0.25, unit="µs", factors=(MILLISECONDS, LOOPBACK, TENFOLD)
        ),
        right_answer=as_answer(round_trip),
        unit="µs",
        hints=(
            Bilingual(
                "This cable has addresses of its own: 198.51.100.1 and 198.51.100.10.",
                "这根网线有自己的地址：198.51.100.1 和 198.51.100.10。",
            ),
            Bilingual(
                "`ip netns exec peer ping -n -c 40 -i 0.05 198.51.100.10`",
                "`ip netns exec peer ping -n -c 40 -i 0.05 198.51.100.10`",
            ),
        ),
        mistakes=ROUND_TRIP_MISTAKES,
    ),
    Task(
        id="03-5",
        title=Bilingual("How is it reset?", "怎样复位？"),
        text=Bilingual(
            "Between two users a function has to be reset. Which method does the kernel try first for 0000:04:00.0? Enter its name.",
            "换用户之前，功能必须复位。对 0000:04:00.0，内核首先尝试哪种方法？填写它的名字。",
        ),
        trains=Bilingual("function-level reset", "功能级复位"),
        minutes=3,
        difficulty=Difficulty.EASY,
        practice=Practice.READING,
        check=check_reset,
        right_answer=lambda site: site.read(f"cat {_FOLDER}/{PORT}/reset_method").split()[0],
        hints=(
            Bilingual(
                "*In practice* of this notebook has the command.",
                "本篇的*实践*一节里有这条命令。",
            ),
            Bilingual(
                "`cat /sys/bus/pci/devices/0000:04:00.0/reset_method`, from left to right.",
                "`cat /sys/bus/pci/devices/0000:04:00.0/reset_method`，从左到右。",
            ),
        ),
        mistakes=(
            Mistake("not in the file", answer="reboot"),
            Mistake("not in the file", answer="driver"),
            Mistake("not in the file", answer="1"),
        ),
    ),
)
