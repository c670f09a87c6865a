"""Names of the interfaces of VFs: read where there are VFs, else by systemd's rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from kvmlab.facts.host_facts import HostFacts
    from kvmlab.facts.types import NetFunction

#: Names by slot, path or firmware index, from which systemd derives those of VFs.
_PREDICTABLE: Final = re.compile(r"en(?:o\d+|s\d+|P?(?:\d+)?p\d+s\d+)(?:f\d+)?")
_PORT_SUFFIX: Final = re.compile(r"np\d+$")
#: The kernel's IFNAMSIZ without its zero byte.
_NAME_BYTES: Final = 15


def vf_name(facts: HostFacts, pf: NetFunction, index: int) -> str | None:
    """Return the name of the host's interface of VF ``index``; None where it cannot be known.

    Where the VF is not there yet, systemd (239 or newer) names it after its PF without the name of
    the port: VF 0 of ``enp129s0f0np0`` is ``enp129s0f0v0``. A PF that somebody named otherwise
    says nothing about its VFs.
    """
    if index < len(pf.vfs):
        vf = next((port for port in facts.ports if port.address == pf.vfs[index]), None)
        return vf.name if vf is not None and vf.netns is None else None
    link = facts.link(pf.name, netns=pf.netns) if pf.name else None
    if link is None:
        return None
    suffix = f"n{link.phys_port_name}" if link.phys_port_name else ""
    base = link.name.removesuffix(suffix) if suffix else _PORT_SUFFIX.sub("", link.name)
    name = f"{base}v{index}"
    if not _PREDICTABLE.fullmatch(base) or len(name) > _NAME_BYTES:
        return None
    return None if facts.link(name) is not None else name
