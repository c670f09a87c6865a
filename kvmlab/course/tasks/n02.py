"""Tasks of notebook 02, vhost_net and macvtap."""

from __future__ import annotations

from typing import Final

from kvmlab.course.bilingual import Bilingual
from kvmlab.course.site import Site
from kvmlab.course.task import Difficulty, Mistake, Practice, Reasons, Task
from kvmlab.course.tasks.checks import (
    BY_QEMU,
    LOOPBACK,
    MAKE_BRIDGE,
    MILLISECONDS,
    PING_THE_VM,
    ROUND_TRIP_MISTAKES,
    TENFOLD,
    VIRTIO,
    as_answer,
    attach,
    interface_xml,
    measured,
    one_interface,
    round_trip,
)
from kvmlab.schemes import Macvtap, Virtio

OWN: Final = "mv-course"
_ADDRESS: Final = "192.0.2.20/24"


def check_worker(site: Site) -> Reasons:
    """See that a vhost worker serves the VM's NIC."""
    reasons = one_interface(site)
    interface = site.interface
    if interface is None:
        return reasons
    if interface.model != "virtio":
        reasons.append(
            Bilingual(
                "The NIC is a {model}. vhost serves virtqueues, which an emulated NIC has not: give it `<model type='virtio'/>`.",
                "网卡是 {model}。vhost 服务的是 virtqueue，全虚拟化网卡没有：请写 `<model type='virtio'/>`。",
            ).format(model=interface.model)
        )
    elif interface.driver == "qemu":
        reasons.append(
            Bilingual(
                "The XML asks for QEMU: `<driver name='qemu'/>`. So no `vhost-…` thread runs for this VM.",
                "XML 要求的是 QEMU：`<driver name='qemu'/>`。所以这台虚拟机没有 `vhost-…` 线程。",
            )
        )
    elif not site.threads.vhost:
        reasons.append(
            Bilingual(
                "No `vhost-…` thread runs for the VM's QEMU process {pid}. Is /dev/vhost-net there?",
                "虚拟机的 QEMU 进程 {pid} 没有 `vhost-…` 线程。/dev/vhost-net 在吗？",
            ).format(pid=site.threads.pid)
        )
    return reasons


def check_macvtap(site: Site) -> Reasons:
    """See that the VM's virtio NIC is on a macvtap in bridge mode on p2p1."""
    reasons = one_interface(site)
    interface = site.interface
    if interface is None:
        return reasons
    if interface.type != "direct":
        return [
            Bilingual(
                "The interface is of the type {type}: a macvtap is `<interface type='direct'>`.",
                "接口的类型是 {type}：macvtap 是 `<interface type='direct'>`。",
            ).format(type=interface.type)
        ]
    if interface.source_dev != "p2p1":
        reasons.append(
            Bilingual(
                "It sits on {dev}, and the cable under test is at p2p1.",
                "它在 {dev} 上，被测的网线插在 p2p1。",
            ).format(dev=interface.source_dev)
        )
    if interface.source_mode != "bridge":
        reasons.append(
            Bilingual(
                "Its mode is {mode}: libvirt's default sends everything to the switch, and few switches send it back. Write `mode='bridge'`.",
                "它的模式是 {mode}：libvirt 的默认模式把一切都交给交换机，而交换机很少会送回来。请写 `mode='bridge'`。",
            ).format(mode=interface.source_mode)
        )
    if interface.model != "virtio":
        reasons.append(
            Bilingual(
                "The NIC above it is a {model}: `<interface type='direct'>` says nothing about the model. A short path, but a slow NIC.",
                "它上面的网卡是 {model}：`<interface type='direct'>` 不决定型号。路径短了，网卡却慢。",
            ).format(model=interface.model)
        )
    return reasons


def check_same_mac(site: Site) -> Reasons:
    """See that the VM's NIC has kept its MAC and is served by vhost now."""
    reasons = check_worker(site)
    if site.interface is not None and site.interface.mac != site.mac:
        reasons.append(
            Bilingual(
                "The NIC has the MAC {mac} now. The address of the VM belongs to {was}: the guest sees another card.",
                "现在网卡的 MAC 是 {mac}。虚拟机的地址属于 {was}：虚拟机会当成另一块网卡。",
            ).format(mac=site.interface.mac, was=site.mac)
        )
    return reasons


def check_macvtap_mac(site: Site) -> Reasons:
    """See that the answer is the MAC of the macvtap."""
    answer = site.answer.lower()
    if answer == site.mac:
        return []
    port = site.links["p2p1"]["address"]
    if answer == port:
        return [
            Bilingual(
                "That is the MAC of p2p1 itself. A macvtap gives the port one more.",
                "这是 p2p1 自己的 MAC。macvtap 给网口再加一个。",
            )
        ]
    if ":" not in answer:
        return [
            Bilingual(
                "A MAC is asked for, six bytes such as 52:54:00:12:34:56: `link/ether` in the output.",
                "要的是 MAC，六个字节，例如 52:54:00:12:34:56：输出里的 `link/ether`。",
            )
        ]
    return [
        Bilingual(
            "No macvtap of the host has that MAC. `ff:ff:…` behind `brd` is the broadcast address of every Ethernet.",
            "宿主机上没有 macvtap 用这个 MAC。`brd` 后面的 `ff:ff:…` 是所有以太网的广播地址。",
        )
    ]


def check_host_macvlan(site: Site) -> Reasons:
    """See that host and VM reach each other over the port of a macvtap."""
    own = site.links.get(OWN)
    address = _ADDRESS.partition("/")[0]
    on = site.read(f"ip -br address show to {address} | cut -d' ' -f1").partition("@")[0]
    if own is None:
        where = (
            Bilingual(
                "{address} is on {on}: what the host sends through the port leaves by the cable, and never comes back to the macvtap. ",
                "{address} 在 {on} 上：宿主机从网口发出的包会走上网线，不会再回到 macvtap。",
            ).format(address=address, on=on)
            if on
            else Bilingual("", "")
        )
        return [
            Bilingual(
                where.en + "The host needs an interface mv-course of its own on p2p1, a macvlan.",
                where.zh + "宿主机需要在 p2p1 上有一个自己的 macvlan 接口 mv-course。",
            )
        ]
    reasons: Reasons = []
    mode = own.get("linkinfo", {}).get("info_data", {}).get("mode", "none")
    if mode != "bridge":
        reasons.append(
            Bilingual(
                "mv-course is in the mode {mode}. Only macvlans in `bridge` mode reach each other inside the host.",
                "mv-course 的模式是 {mode}。只有 `bridge` 模式的 macvlan 才能在宿主机内部互通。",
            ).format(mode=mode)
        )
    if "UP" not in own["flags"]:
        reasons.append(Bilingual("mv-course is down.", "mv-course 没有启用。"))
    if on != OWN:
        reasons.append(
            Bilingual(
                "The address {address} is not on mv-course.", "地址 {address} 不在 mv-course 上。"
            ).format(address=address)
        )
    vm = site.notes["vm_address"]
    if not reasons and site.run(f"ping -n -q -c 2 -i 0.2 -W 1 -I {OWN} {vm}").returncode != 0:
        reasons.append(
            Bilingual(
                "Everything is in place, and the VM does not answer a ping yet.",
                "都就位了，但虚拟机还没有回答 ping。",
            )
        )
    return reasons


def _direct(*inside: str, source: str) -> str:
    return attach(interface_xml(*inside, kind="direct", source=source))


_BRIDGE_MODE: Final = "<source dev='p2p1' mode='bridge'/>"
_DETACH: Final = "virsh detach-interface kvmlab-vm bridge --live"
_WAIT: Final = "while virsh domiflist kvmlab-vm | grep -q bridge; do sleep 0.1; done"


def _changed(xml: str, mac: str = "$mac") -> str:
    """Return a line that takes the NIC away and attaches another on the same bridge."""
    return "\n".join(
        (
            "set -- $(virsh domiflist kvmlab-vm | awk '/bridge/ {print $3, $5}')",
            "bridge=$1 mac=$2",
            f"{_DETACH} && {_WAIT}",
            "cat >/tmp/nic.xml <<EOF",
            xml.replace("MAC", mac),
            "EOF",
            "virsh attach-device kvmlab-vm /tmp/nic.xml --live && rm /tmp/nic.xml",
        )
    )


_ON_THE_SAME: Final = interface_xml(VIRTIO, source="<source bridge='$bridge'/>", mac="MAC")
_EMULATED: Final = interface_xml(
    "<model type='e1000'/>", source="<source bridge='$bridge'/>", mac="MAC"
)

TASKS: Final = (
    Task(
        id="02-1",
        title=Bilingual("Served by vhost", "由 vhost 服务"),
        text=Bilingual(
            "The bridge br-course is there. Attach a virtio NIC on it, MAC 52:54:00:6b:00:0c, to the running VM kvmlab-vm, so that a vhost worker serves it, and prove that it does.",
            "网桥 br-course 已经建好。给运行中的虚拟机 kvmlab-vm 插一块接在上面的 virtio 网卡，MAC 为 52:54:00:6b:00:0c，让 vhost 工作线程为它服务，并加以证明。",
        ),
        trains=Bilingual("the back end, and its proof", "后端，以及如何证明"),
        minutes=5,
        difficulty=Difficulty.EASY,
        practice=Practice.SHELL,
        setup=MAKE_BRIDGE,
        check=check_worker,
        solution=(attach(interface_xml(VIRTIO)), "ps -eT | grep vhost-"),
        hints=(
            Bilingual(
                "What is the default of libvirt where the XML names no driver?",
                "XML 没有写 driver 时，libvirt 默认用什么？",
            ),
            Bilingual(
                "`<model type='virtio'/>` and no `<driver>`, or `<driver name='vhost'/>`; the proof is `ps -eT | grep vhost-`.",
                "写 `<model type='virtio'/>`，不写 `<driver>`，或者写 `<driver name='vhost'/>`；证明是 `ps -eT | grep vhost-`。",
            ),
        ),
        mistakes=(
            Mistake("The XML asks for QEMU", (attach(interface_xml(VIRTIO, BY_QEMU)),)),
            Mistake(
                "which an emulated NIC has not",
                (attach(interface_xml("<model type='e1000'/>", "<driver name='vhost'/>")),),
            ),
            Mistake(
                "has no interface",
                (attach(interface_xml(VIRTIO, source="<source bridge='br0'/>")),),
            ),
        ),
    ),
    Task(
        id="02-2",
        title=Bilingual("A macvtap by XML", "用 XML 写一个 macvtap"),
        text=Bilingual(
            "Attach a virtio NIC to the running VM, MAC 52:54:00:6b:00:0c, that sits on the port p2p1 without a bridge. VMs on this port are to reach each other inside the host.",
            "给运行中的虚拟机插一块 virtio 网卡，MAC 为 52:54:00:6b:00:0c，不经网桥、直接建在网口 p2p1 上。同一网口上的虚拟机要能在宿主机内部互通。",
        ),
        trains=Bilingual("macvtap and its modes", "macvtap 及其模式"),
        minutes=5,
        difficulty=Difficulty.EASY,
        practice=Practice.SHELL,
        check=check_macvtap,
        solution=(_direct(VIRTIO, source=_BRIDGE_MODE),),
        hints=(
            Bilingual(
                "libvirt calls it *direct attachment*: an interface of another type, with the port as its source.",
                "libvirt 叫它 *direct attachment*：接口换一种类型，source 是网口。",
            ),
            Bilingual(
                "`<interface type='direct'>` with `<source dev='p2p1' mode='bridge'/>` and `<model type='virtio'/>`.",
                "`<interface type='direct'>`，里面是 `<source dev='p2p1' mode='bridge'/>` 和 `<model type='virtio'/>`。",
            ),
        ),
        mistakes=(
            Mistake("Its mode is vepa", (_direct(VIRTIO, source="<source dev='p2p1'/>"),)),
            Mistake("A short path, but a slow NIC", (_direct(source=_BRIDGE_MODE),)),
            Mistake(
                "the cable under test is at p2p1",
                (_direct(VIRTIO, source="<source dev='p1p1' mode='bridge'/>"),),
            ),
        ),
    ),
    Task(
        id="02-3",
        title=Bilingual("A round trip with vhost", "vhost 的往返时间"),
        text=Bilingual(
            "The VM has a NIC that vhost serves. How long is a round trip from the peer (the namespace `peer`) to the VM (192.0.2.10), as the median of many, in microseconds?",
            "虚拟机的网卡由 vhost 服务。从对端（命名空间 `peer`）到虚拟机（192.0.2.10）的往返时间是多少微秒？取许多次的中位数。",
        ),
        trains=Bilingual("measuring a latency", "测量延迟"),
        minutes=4,
        difficulty=Difficulty.EASY,
        practice=Practice.MEASUREMENT,
        scheme=Virtio(backend="vhost"),
        check=measured(
            round_trip, within=0.25, unit="µs", factors=(MILLISECONDS, LOOPBACK, TENFOLD)
        ),
        right_answer=as_answer(round_trip),
        unit="µs",
        hints=(
            Bilingual(
                "As in task 00-4: a command at the peer, and its last line.",
                "和任务 00-4 一样：在对端运行一条命令，看最后一行。",
            ),
            PING_THE_VM,
        ),
        mistakes=ROUND_TRIP_MISTAKES,
    ),
    Task(
        id="02-4",
        title=Bilingual("Slow for no reason", "莫名其妙地慢"),
        text=Bilingual(
            "The VM has a virtio NIC on a bridge, and its packets are slow. Find out why, and mend it: the same bridge, the same MAC (`virsh domiflist kvmlab-vm` has both), the same model.",
            "虚拟机有一块接在网桥上的 virtio 网卡，但数据包很慢。找出原因并修好它：网桥、MAC（`virsh domiflist kvmlab-vm` 里都有）和型号都不变。",
        ),
        trains=Bilingual("the proof is a thread", "证明是一个线程"),
        minutes=8,
        difficulty=Difficulty.MEDIUM,
        practice=Practice.SHELL,
        scheme=Virtio(backend="qemu"),
        check=check_same_mac,
        solution=(_changed(_ON_THE_SAME),),
        hints=(
            Bilingual(
                "Which thread should run for the VM, and does it? `ps -eT | grep vhost-`.",
                "这台虚拟机应该有哪个线程在运行？有吗？`ps -eT | grep vhost-`。",
            ),
            Bilingual(
                "The back end of a NIC cannot be changed while it is plugged in: detach it (`virsh detach-interface`), then attach it anew without `<driver name='qemu'/>`.",
                "插着的网卡不能更换后端：先拔掉（`virsh detach-interface`），再重新插上，不要写 `<driver name='qemu'/>`。",
            ),
        ),
        mistakes=(
            Mistake("The XML asks for QEMU", ("modprobe vhost_net",)),
            Mistake("the guest sees another card", (_changed(_ON_THE_SAME, "52:54:00:6b:00:0d"),)),
            Mistake("which an emulated NIC has not", (_changed(_EMULATED),)),
        ),
    ),
    Task(
        id="02-5",
        title=Bilingual("The MAC of a macvtap", "macvtap 的 MAC"),
        text=Bilingual(
            "The VM has a macvtap on p2p1. In a shell on the host, look at it (`ip -d link show type macvtap`). Which MAC does it have? Compare it with the VM's.",
            "虚拟机有一个建在 p2p1 上的 macvtap。在宿主机的 shell 里看一看它（`ip -d link show type macvtap`）。它的 MAC 是什么？和虚拟机的比一比。",
        ),
        trains=Bilingual("which MAC counts", "算数的是哪个 MAC"),
        minutes=3,
        difficulty=Difficulty.EASY,
        practice=Practice.SHELL,
        scheme=Macvtap(),
        check=check_macvtap_mac,
        right_answer=lambda site: site.mac,
        hints=(
            Bilingual(
                "`link/ether` is followed by the MAC, `brd` by the broadcast address.",
                "`link/ether` 后面是 MAC，`brd` 后面是广播地址。",
            ),
        ),
        mistakes=(
            Mistake("the MAC of p2p1 itself", answer=lambda site: site.links["p2p1"]["address"]),
            Mistake("six bytes", answer="macvtap0"),
            Mistake("broadcast address", answer="ff:ff:ff:ff:ff:ff"),
        ),
    ),
    Task(
        id="02-6",
        title=Bilingual("Let host and VM talk", "让宿主机和虚拟机说话"),
        text=Bilingual(
            "The VM has a macvtap on p2p1, so host and VM cannot reach each other. Leave the VM as it is, and give the host an interface mv-course with the address 192.0.2.20/24 on the same port, over which it reaches the VM (192.0.2.10).",
            "虚拟机有一个建在 p2p1 上的 macvtap，所以宿主机和虚拟机互不相通。虚拟机保持原样，在同一个网口上给宿主机一个接口 mv-course，地址为 192.0.2.20/24，使宿主机能够到达虚拟机（192.0.2.10）。",
        ),
        trains=Bilingual("a limit of macvtap, and its cure", "macvtap 的局限和解法"),
        minutes=8,
        difficulty=Difficulty.HARD,
        practice=Practice.SHELL,
        scheme=Macvtap(),
        check=check_host_macvlan,
        solution=(
            f"ip link add link p2p1 name {OWN} type macvlan mode bridge",
            f"ip address add {_ADDRESS} dev {OWN}",
            f"ip link set {OWN} up",
        ),
        hints=(
            Bilingual(
                "Two macvlans in `bridge` mode reach each other. The macvtap is one of them.",
                "两个 `bridge` 模式的 macvlan 可以互通。macvtap 就是其中一个。",
            ),
            Bilingual(
                "`ip link add link p2p1 name mv-course type macvlan mode bridge`, then the address, then up.",
                "`ip link add link p2p1 name mv-course type macvlan mode bridge`，然后加地址，再启用。",
            ),
        ),
        mistakes=(
            Mistake("never comes back to the macvtap", (f"ip address add {_ADDRESS} dev p2p1",)),
            Mistake(
                "is in the mode vepa",
                (
                    f"ip link add link p2p1 name {OWN} type macvlan",
                    f"ip address add {_ADDRESS} dev {OWN}",
                    f"ip link set {OWN} up",
                ),
            ),
            Mistake(
                "mv-course is down",
                (
                    f"ip link add link p2p1 name {OWN} type macvlan mode bridge",
                    f"ip address add {_ADDRESS} dev {OWN}",
                ),
            ),
        ),
    ),
)
