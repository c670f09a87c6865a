"""A libvirt <network> as declared XML: the pool that hands out VFs."""

from __future__ import annotations

from typing import Final, Self

from kvmlab.domain.declared_xml import Element, Text, YesNo

#: The lab's own pools: of VFs, and of macvtaps on VFs.
LAB_POOL: Final = "kvmlab-vfs"
LAB_TAP_POOL: Final = "kvmlab-vf-taps"


class Network(Element):
    """A <network>. Everything that is not declared here is kept."""

    tag = "network"
    name = Text("name")
    forward_mode = Text("forward/@mode")
    managed = YesNo("forward/@managed")
    pf = Text("forward/pf/@dev")

    @classmethod
    def of_vfs(cls, name: str, pf: str) -> Self:
        """Return a pool of the VFs of ``pf``: each interface of the network gets a free one."""
        network = cls()
        network.name = name
        network.forward_mode = "hostdev"
        network.managed = True
        network.pf = pf
        return network
