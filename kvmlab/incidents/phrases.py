"""Sentences of incidents that all faults share, in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kvmlab.course.bilingual import Bilingual
from kvmlab.incidents.fault import Layer
from kvmlab.incidents.health import Effect, Health

CAUSE_REMAINS: Final = Bilingual(
    "By measurement the VM is healthy, but something that was put in is still there: it may show "
    "itself again under another load. Find it and put it back as it was.",
    "从测量看虚拟机是健康的，但放进去的某样东西还在：换一种负载它可能再次发作。请找到它并恢复原状。",
)
PASSED: Final = Bilingual(
    "Mended: the VM is as healthy as before, and what was put in is gone.",
    "已修好：虚拟机和之前一样健康，放进去的东西也不在了。",
)
NOT_YET: Final = Bilingual("Not mended yet:", "还没有修好：")
NO_MORE_HINTS: Final = Bilingual(
    "There are no more hints. Give up (`kvmlab incident solve`) shows what it was and mends it.",
    "没有更多提示了。“放弃”（`kvmlab incident solve`）会说明原因并修好它。",
)
NO_RULE: Final = Bilingual(
    "No rule fits: only measuring finds it.",
    "没有针对它的规则，只有测量才能发现。",
)
READS: Final = Bilingual("{rule}: {observed} {fix}", "{rule}：{observed}{fix}")
READS_NOTHING: Final = Bilingual(
    "A rule is near it, and finds nothing: {title}.",
    "有一条相近的规则，但没有发现问题：{title}。",
)
TIME: Final = Bilingual(
    "{minutes:.1f} min, hints included ({hints} taken).",
    "{minutes:.1f} 分钟，含提示（{hints} 次）。",
)
SHOWN_BY: Final = Bilingual("What showed it, while it was in:", "它还在时，能看到它的地方：")
MENDED_BY: Final = Bilingual("What mends it:", "修复方法：")
NO_INCIDENT: Final = Bilingual(
    "No incident runs on this host.", "这台宿主机上没有正在进行的故障演练。"
)
INTERRUPTED: Final = Bilingual(
    "Interrupted. End puts the host back.", "已中断。“结束”会恢复宿主机。"
)
GIVE_UP: Final = Bilingual("Give up", "放弃")
DEBRIEF: Final = Bilingual("Debrief", "复盘")
END: Final = Bilingual("End", "结束")
LEVEL: Final = Bilingual("Level", "级别")
SEED: Final = Bilingual("Seed", "种子")
PANEL: Final = Bilingual("Incident: break and mend", "故障演练：找出并修复")
DOCTOR: Final = Bilingual("The doctor: {reads}", "诊断（doctor）：{reads}")
HEALTHY_BEFORE: Final = Bilingual(
    "Before: round trip {round_trip:.2f} ms, download {download:.0f} MiB/s, upload "
    "{upload:.0f} MiB/s.",
    "此前：往返时间 {round_trip:.2f} ms，下载 {download:.0f} MiB/s，上传 {upload:.0f} MiB/s。",
)
WORK: Final = Bilingual(
    "Look and mend in a shell on the host (`kvmlab host ssh`); `kvmlab incident vm COMMAND` runs a "
    "command inside the VM. The VM is {vm_address}, the peer {peer_address}.",
    "在宿主机的 shell 里查找和修复（`kvmlab host ssh`）；`kvmlab incident vm 命令` 在虚拟机内运行命令。"
    "虚拟机是 {vm_address}，对端是 {peer_address}。",
)
#: The first hint: how to narrow it down, by what the user notices.
HOW_TO_LOOK: Final[Mapping[Effect, Bilingual]] = {
    Effect.UNREACHABLE: Bilingual(
        "Follow one packet: ping from the VM, and count on each station (guest, tap, bridge, port, "
        "peer) with `ip -s link` or `tcpdump -nei` where it is seen last.",
        "跟踪一个数据包：从虚拟机 ping，在每一站（虚拟机、tap、网桥、网口、对端）用 `ip -s link` 或 `tcpdump -nei` 看它最后出现在哪里。",
    ),
    Effect.LOSS: Bilingual(
        "Something drops. Every drop is counted somewhere: compare `ip -s link`, `tc -s qdisc` and "
        "`iptables -nvL` before and after 100 pings.",
        "有东西在丢包。每次丢包都会在某处计数：比较 100 个 ping 前后的 `ip -s link`、`tc -s qdisc` 和 `iptables -nvL`。",
    ),
    Effect.LARGE_LOST: Bilingual(
        "Find the size at which it breaks: `ping -s 500`, `-s 1000`, `-s 1400`. Then compare "
        "everything on the way that knows sizes.",
        "先找出在多大时出问题：`ping -s 500`、`-s 1000`、`-s 1400`。再比较路径上所有与大小有关的东西。",
    ),
    Effect.SLOW_ROUND_TRIP: Bilingual(
        "Time is lost while a packet waits. Ping in both directions, and watch with "
        "`tcpdump -ttt -ni` on which side of each station the gap is.",
        "时间花在数据包的等待上。双向 ping，并用 `tcpdump -ttt -ni` 看间隔出现在每一站的哪一侧。",
    ),
    Effect.SLOW_DOWNLOAD: Bilingual(
        "Compare directions and see who is busy: is a thread at 100 %, does a counter of drops "
        "grow, or does everybody wait? How large are the packets that the VM gets?",
        "比较两个方向，看谁在忙：有线程到 100% 吗？有丢包计数在增长吗？还是大家都在等？虚拟机收到的数据包有多大？",
    ),
    Effect.SLOW_UPLOAD: Bilingual(
        "Compare directions and see who is busy: is a thread at 100 %, does a counter of drops "
        "grow, or does everybody wait? How large are the packets that the VM sends?",
        "比较两个方向，看谁在忙：有线程到 100% 吗？有丢包计数在增长吗？还是大家都在等？虚拟机发出的数据包有多大？",
    ),
}
#: The second hint: the layer.
WHERE: Final[Mapping[Layer, Bilingual]] = {
    Layer.GUEST: Bilingual(
        "The host is innocent: look inside the VM.", "宿主机是无辜的：去虚拟机里面看。"
    ),
    Layer.NIC: Bilingual(
        "Look at what the VM was given: the interface in its live XML, and who serves it.",
        "看看虚拟机得到的是什么：运行中 XML 里的接口，以及由谁为它服务。",
    ),
    Layer.TAP: Bilingual(
        "It is at the tap, the host's end of the VM's interface.",
        "问题在 tap 上，即虚拟机接口在宿主机的那一端。",
    ),
    Layer.BRIDGE: Bilingual(
        "It is the bridge: its ports, their flags, its table.",
        "问题在网桥：它的端口、端口的标志、它的转发表。",
    ),
    Layer.FIREWALL: Bilingual(
        "Something on the host filters what the bridge forwards.",
        "宿主机上有东西在过滤网桥转发的数据包。",
    ),
    Layer.PORT: Bilingual(
        "It is at the port through which the VM's packets leave the host.",
        "问题在虚拟机数据包离开宿主机的那个网口上。",
    ),
    Layer.VM: Bilingual(
        "It is not the network: what does QEMU itself get of the host?",
        "不是网络的问题：QEMU 自己从宿主机得到了多少资源？",
    ),
}
#: The last hint: the command that shows it.
COMMAND: Final = Bilingual("Read this with care: `{command}`.", "仔细读一读：`{command}`。")


def healthy_before(healthy: Health) -> Bilingual:
    """Return the figures of the sound VM as a sentence."""
    return HEALTHY_BEFORE.format(
        round_trip=healthy.round_trip_ms or 0.0,
        download=healthy.download or 0.0,
        upload=healthy.upload or 0.0,
    )
