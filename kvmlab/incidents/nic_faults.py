"""Faults of the VM's NIC itself, which is another one than it should be, and of VFs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kvmlab.changes.host_state import HostState
from kvmlab.course.bilingual import Bilingual
from kvmlab.facts import Rule
from kvmlab.incidents.fault import BLIND, Alteration, Fault, FaultSite, Layer
from kvmlab.incidents.health import Effect
from kvmlab.schemes import FullEmulation, Macvtap, SriovVf, Virtio
from kvmlab.schemes.bridge import BridgeScheme

if TYPE_CHECKING:
    from kvmlab.changes import HostStep
    from kvmlab.facts import HostFacts
    from kvmlab.hosts import Cable


class NicFault(Fault):
    """A fault of the NIC: the scheme itself is the wrong one."""

    layer = Layer.NIC

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Alter nothing else: the VM gets another NIC."""
        return ()


class QemuBackEnd(NicFault):
    """Serve a virtio NIC by QEMU in place of vhost."""

    name = "qemu-back-end"
    level = 2
    effects = (Effect.SLOW_DOWNLOAD,)
    symptom = Bilingual(
        "The VM is slower since it was imported from the other host. Same image, same virtio "
        "drivers, and QEMU's main thread is busy.",
        "从另一台宿主机导入之后，虚拟机变慢了。镜像一样，virtio 驱动也一样，而 QEMU 的主线程很忙。",
    )
    cause = Bilingual(
        "The interface says <driver name='qemu'/>: every packet passes QEMU's main loop in user "
        "space. No vhost worker serves it.",
        "接口里写着 <driver name='qemu'/>：每个数据包都要经过用户态的 QEMU 主循环，没有 vhost 工作线程为它服务。",
    )
    evidence = ("virsh dumpxml {domain} --xpath //interface", "ps -eLo tid,comm")
    rule = Rule.VHOST_NOT_USED
    faulty_scheme = Virtio("qemu")


class VirtioWithoutBackEnd(BridgeScheme):
    """A virtio NIC whose XML names no back end, on a host that has unloaded vhost_net."""

    id = "virtio-unnamed"
    label = "virtio"
    backend = "qemu"
    model = "virtio"

    def host_steps(self, facts: HostFacts, cable: Cable) -> Sequence[HostStep]:
        """Create the bridge, and unload vhost_net."""
        unload = HostState("module", "vhost_net", "-", "off").step(BLIND, "on")
        return (*super().host_steps(facts, cable), unload)


class SilentFallback(NicFault):
    """Unload vhost_net, and let libvirt fall back."""

    name = "silent-fallback"
    level = 3
    effects = (Effect.SLOW_DOWNLOAD,)
    symptom = Bilingual(
        "After the host's kernel update the VM is slower. Its XML is the one of last year, and no log "
        "says a word.",
        "宿主机更新内核之后，虚拟机变慢了。XML 还是去年那份，日志里也没有任何提示。",
    )
    cause = Bilingual(
        "vhost_net is not loaded, and the XML names no back end: libvirt then uses QEMU's and says "
        "nothing. Only the missing worker thread tells. Load the module, then plug the NIC anew: "
        "what runs does not change its back end.",
        "vhost_net 没有加载，而 XML 没有指定后端：libvirt 就用 QEMU 的后端，并且什么也不说。只有缺少的工作线程能说明问题。加载模块，再重新插入网卡：运行中的接口不会更换后端。",
    )
    evidence = ("lsmod", "virsh dumpxml {domain} --xpath //interface", "ps -eLo tid,comm")
    rule = Rule.VHOST_NET_MISSING
    faulty_scheme = VirtioWithoutBackEnd()


class EmulatedNic(NicFault):
    """Give the VM an emulated e1000."""

    name = "emulated-nic"
    level = 1
    effects = (Effect.SLOW_DOWNLOAD, Effect.SLOW_UPLOAD)
    symptom = Bilingual(
        "A colleague built the VM anew “with defaults”. Its network is many times slower than that "
        "of its twin.",
        "同事用“默认设置”重建了虚拟机。它的网络比双胞胎那台慢好多倍。",
    )
    cause = Bilingual(
        "The NIC is an e1000: each packet costs exits for imitated registers. The twin has virtio.",
        "网卡是 e1000：每个数据包都要为模拟寄存器付出多次 VM 退出。双胞胎那台用的是 virtio。",
    )
    evidence = ("virsh domiflist {domain}", "in the VM: ethtool -i eth0")
    faulty_scheme = FullEmulation("e1000")


class MacvtapFault(Fault):
    """A mode of the VM's macvtap that keeps it from its neighbours on the same port."""

    layer = Layer.NIC
    scheme = Macvtap()
    near_peer = True
    effects = (Effect.UNREACHABLE,)
    evidence = ("ip -d link show dev {tap}", "virsh dumpxml {domain} --xpath //interface")
    rule = Rule.MACVTAP_VEPA
    mode = ""

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Set the mode of the macvtap, which its XML does not show."""
        return (HostState("macvtap", site.tap, "mode", self.mode),)


class VepaMode(MacvtapFault):
    """Put the macvtap into vepa mode."""

    name = "macvtap-vepa"
    level = 2
    mode = "vepa"
    symptom = Bilingual(
        "Two VMs stand on the same port. Both reach the world outside, I hear, but ours does not "
        "reach its neighbour any more since it was plugged in anew.",
        "同一个网口上有两台虚拟机。听说两台都能到外面，但我们这台重新插上网卡之后，就再也到不了它的邻居。",
    )
    cause = Bilingual(
        "The VM's macvtap is in mode vepa: what is for a neighbour on the same port leaves by the "
        "cable, and a switch would have to send it back out of the port on which it came. Few do.",
        "虚拟机的 macvtap 处于 vepa 模式：发给同一网口上邻居的数据包从网线出去，要靠交换机从收到它的端口再发回来。很少有交换机这么做。",
    )


class PrivateMode(MacvtapFault):
    """Put the macvtap into private mode."""

    name = "macvtap-private"
    level = 3
    mode = "private"
    symptom = Bilingual(
        "Our database and its client were put on the same host, on the same port, to be close to "
        "each other. They were never further apart.",
        "为了离得近，数据库和它的客户端被放到同一台宿主机的同一个网口上。它们从来没有离得这么远过。",
    )
    cause = Bilingual(
        "The VM's macvtap is in mode private: it never exchanges a packet with others on its port, "
        "whatever the switch does.",
        "虚拟机的 macvtap 处于 private 模式：无论交换机怎么做，它都不与同一网口上的其他成员交换数据包。",
    )


class VfFault(Fault):
    """A fault of a VF, which the PF on the host decides."""

    layer = Layer.NIC
    scheme = SriovVf()


class VfVlan(VfFault):
    """Put the VF into a VLAN."""

    name = "vf-vlan"
    level = 2
    effects = (Effect.UNREACHABLE,)
    symptom = Bilingual(
        "The VM with its own piece of the NIC has a link and no answer from anywhere. Inside the VM "
        "nothing was changed.",
        "用着一块网卡切片的虚拟机有链路，却得不到任何应答。虚拟机里什么也没改过。",
    )
    cause = Bilingual(
        "The PF has put the VF into VLAN 7. The VM cannot see it: the NIC adds and strips the tag.",
        "PF 把该 VF 放进了 VLAN 7。虚拟机看不到：标签由网卡添加和剥除。",
    )
    evidence = ("ip link show dev {port}",)

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Set the VF's VLAN."""
        return (HostState("vf", site.port, "0", "7"),)


class PfDown(VfFault):
    """Switch the PF off."""

    name = "pf-down"
    level = 1
    effects = (Effect.UNREACHABLE,)
    symptom = Bilingual(
        "The host does not use that port itself, so somebody switched it off. The VM with the VF "
        "complains.",
        "宿主机自己不用那个网口，于是有人把它关了。用着 VF 的虚拟机出了问题。",
    )
    cause = Bilingual(
        "The PF is down. A VF gets its link through its PF: without it, no packet comes or goes.",
        "PF 被关闭（down）。VF 的链路来自它的 PF：PF 不在，数据包就进出不了。",
    )
    evidence = ("ip link show dev {port}",)
    rule = Rule.PF_DOWN

    def alterations(self, site: FaultSite) -> Sequence[Alteration]:
        """Set the PF down."""
        return (HostState("up", site.port, "flags", "down"),)


NIC_FAULTS: tuple[type[Fault], ...] = (
    QemuBackEnd,
    SilentFallback,
    EmulatedNic,
    VepaMode,
    PrivateMode,
    VfVlan,
    PfDown,
)
