"""Parts that checks of several notebooks share: answers, interfaces, and lines that people type."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from kvmlab.course.bilingual import Bilingual
from kvmlab.course.site import Site
from kvmlab.course.task import Mistake, Reasons

Check = Callable[[Site], Reasons]

#: A bridge as people make one by hand, with the port under test in it.
BRIDGE: Final = "br-course"
MAKE_BRIDGE: Final = (
    f"ip link add {BRIDGE} type bridge",
    f"ip link set p2p1 master {BRIDGE} up",
    f"ip link set {BRIDGE} up",
)
ON_BRIDGE: Final = "<source bridge='br-course'/>"
VIRTIO: Final = "<model type='virtio'/>"
BY_QEMU: Final = "<driver name='qemu'/>"
BY_VHOST: Final = "<driver name='vhost'/>"
VM: Final = "kvmlab-vm"
MAC: Final = "52:54:00:6b:00:0c"

NO_INTERFACE: Final = Bilingual(
    "The running VM has no interface: `virsh domiflist kvmlab-vm` lists none. Where `virsh "
    "attach-device` printed an error, nothing was attached.",
    "运行中的虚拟机没有接口：`virsh domiflist kvmlab-vm` 是空的。`virsh attach-device` 如果报了错，就什么也没有"
    "插上。",
)
SEVERAL_INTERFACES: Final = Bilingual(
    "The VM has {count} interfaces, and one is wanted. Take away the other: `virsh "
    "detach-interface kvmlab-vm TYPE --mac MAC --live`.",
    "虚拟机有 {count} 个接口，只要一个。拔掉多余的：`virsh detach-interface kvmlab-vm 类型 --mac MAC --live`。",
)


def attach(xml: str) -> str:
    """Return the lines that write a device into a file and plug it into the running VM."""
    plug = f"virsh attach-device {VM} /tmp/nic.xml --live && rm /tmp/nic.xml"
    return "\n".join(("cat >/tmp/nic.xml <<'EOF'", xml, "EOF", plug))


def interface_xml(
    *inside: str, kind: str = "bridge", source: str = ON_BRIDGE, mac: str = MAC
) -> str:
    """Return an ``<interface>`` as people write it."""
    lines = [
        "<interface type='KIND'>".replace("KIND", kind),
        "  <mac address='MAC'/>".replace("MAC", mac),
        *(f"  {line}" for line in (source, *inside) if line),
        "</interface>",
    ]
    return "\n".join(lines)


def in_vm(*words: str) -> str:
    """Return a line that runs a command inside the VM by its guest agent, from the host."""
    arguments = ", ".join(f'"{word}"' for word in words[1:])
    request = '{"execute": "guest-exec", "arguments": {"path": "PATH", "arg": [ARGS]}}'
    request = request.replace("PATH", words[0]).replace("ARGS", arguments)
    return f"virsh qemu-agent-command kvmlab-vm '{request}'; sleep 0.5"


def one_interface(site: Site) -> Reasons:
    """Return why the VM has not exactly one interface."""
    if not site.interfaces:
        return [NO_INTERFACE]
    if len(site.interfaces) > 1:
        return [SEVERAL_INTERFACES.format(count=len(site.interfaces))]
    return []


def chosen(right: int, *why: Bilingual) -> Check:
    """Return the check of a choice: the number of the ``right`` option, counted from 1.

    ``why`` has a text for each option, which answers whoever chose it; that of the right one is
    the explanation that a question shows.
    """

    def check(site: Site) -> Reasons:
        if site.answer == str(right):
            return []
        if site.answer.isdecimal() and 0 < int(site.answer) <= len(why):
            return [why[int(site.answer) - 1]]
        return [
            Bilingual(
                f"The answer is the number of an option, 1 to {len(why)}.",
                f"答案是选项的序号，1 到 {len(why)}。",
            )
        ]

    return check


def number_in(text: str) -> float | None:
    """Return the number that an answer begins with, such as that of "41.5 µs"; None without one.

    >>> number_in("41,5 us"), number_in("fast")
    (41.5, None)
    """
    match = re.match(r"[-+]?\d+(?:[.,]\d+)?(?:e[-+]?\d+)?", text.strip(), re.IGNORECASE)
    return float(match[0].replace(",", ".")) if match else None


def measured(
    truth: Callable[[Site], float],
    *,
    within: float,
    unit: str,
    factors: Sequence[tuple[float, Bilingual]] = (),
) -> Check:
    """Return the check of a measured number, against a measurement that the check makes itself.

    ``within`` is the relative tolerance. ``factors`` are pairs of a factor between answer and
    truth, and what it suggests: 0.001 where somebody wrote milliseconds in place of microseconds.
    """

    def check(site: Site) -> Reasons:
        value = number_in(site.answer)
        if value is None:
            return [
                Bilingual(f"The answer is a number, in {unit}.", f"答案是一个数，单位是 {unit}。")
            ]
        true = truth(site)
        if abs(value - true) <= within * true:
            return []
        for factor, reason in factors:
            if abs(value - factor * true) <= max(within, 0.3) * factor * true:
                return [reason]
        side = ("above", "高于") if value > true else ("below", "低于")
        return [
            Bilingual(
                f"{value:g} {unit} is {side[0]} what is measured here by more than "
                f"{100 * within:.0f} %. Measure again while nothing else runs on the host, "
                "and take the median or mean of many, not one.",
                f"{value:g} {unit} {side[1]}这里测到的值，超出了 {100 * within:.0f}% 的容差。"
                "在宿主机上没有别的事情时再测一次，取多次的中位数或平均值，不要只取一次。",
            )
        ]

    return check


MILLISECONDS: Final = (
    0.001,
    Bilingual(
        "That is a thousandth of it: `ping` prints milliseconds, and microseconds are asked for.",
        "这只有千分之一：`ping` 显示的是毫秒，这里问的是微秒。",
    ),
)
TENFOLD: Final = (
    10.0,
    Bilingual(
        "That is ten times as long. The first ping of a pause includes ARP and a sleeping CPU; "
        "take the median of twenty and more, sent every 50 ms.",
        "这长了十倍。停顿之后的第一个 ping 包含 ARP 和 CPU 的唤醒；请每 50 毫秒发一个，至少二十个，取中位数。",
    ),
)
LOOPBACK: Final = (
    0.05,
    Bilingual(
        "That is far too short for a round trip to a VM. Was it the peer's own address, or the "
        "host's? Ping the VM's address from the peer's namespace.",
        "到虚拟机往返不会这么短。是不是 ping 了对端自己或宿主机的地址？请从对端的命名空间 ping 虚拟机的地址。",
    ),
)
#: What people who measure a round trip enter.
ROUND_TRIP_MISTAKES: Final = (
    Mistake("prints milliseconds", factor=0.001),
    Mistake("ten times as long", factor=10),
    Mistake("far too short", factor=0.05),
)
PING_THE_VM: Final = Bilingual(
    "`ip netns exec peer ping -n -c 40 -i 0.05 192.0.2.10`",
    "`ip netns exec peer ping -n -c 40 -i 0.05 192.0.2.10`",
)


def round_trip(site: Site) -> float:
    """Return the median of round trips from the peer to the VM, in µs."""
    cable_peer, vm = site.notes["peer_netns"], site.notes["vm_address"]
    line = f"ip netns exec {cable_peer} ping -n -c 25 -i 0.02 -W 1 {vm}"
    times = sorted(float(ms) for ms in re.findall(r"time=([\d.]+) ms", site.read(line)))
    return 1000 * times[len(times) // 2] if times else 0.0


def as_answer(truth: Callable[[Site], float]) -> Callable[[Site], str]:
    """Return the right answer of a measurement as a person would write it."""
    return lambda site: in_digits(truth(site))


def in_digits(value: float) -> str:
    """Return a number as a person writes it, with three digits that count.

    >>> in_digits(2384.2), in_digits(0.03141)
    ('2380', '0.0314')
    """
    return f"{float(f'{value:.3g}'):g}"
