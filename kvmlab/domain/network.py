"""A libvirt <network> as declared XML: the pool that hands out VFs."""

from __future__ import annotations

from typing import Self

from kvmlab.domain.declared import Element, Text, YesNo


class Network(Element):
    """A <network>. Everything that is not declared here is kept."""

    tag = "network"
    name = Text("name")
    forward_mode = Text("forward/@mode")
    managed = YesNo("forward/@managed")
    pf = Text("forward/pf/@dev")

    @classmethod
    def of_vfs(cls, name: str, pf: str) -> Self:
        """A pool of the VFs of ``pf``: each interface of the network gets a free one."""
        made = cls()
        made.name = name
        made.forward_mode = "hostdev"
        made.managed = True
        made.pf = pf
        return made
