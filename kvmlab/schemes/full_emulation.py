"""Full emulation: QEMU emulates an Intel NIC register by register (the article's first scheme)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kvmlab.schemes.bridge import BridgeScheme
from kvmlab.schemes.options import check_options


@dataclass(frozen=True)
class FullEmulation(BridgeScheme):
    """A NIC that exists in silicon, emulated by QEMU; any guest has a driver for it.

    ``model`` is "e1000" (82540EM, conventional PCI, what the article names) or "e1000e" (82574L,
    PCI Express). ``with_vfs`` and ``learning`` are for the trap of VFs below a bridge.
    """

    model: Literal["e1000", "e1000e"] = "e1000"
    with_vfs: int = 0
    learning: bool = True

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def id(self) -> str:
        """The NIC model, such as "e1000"."""
        return self.model + self.trap

    @property
    def label(self) -> str:
        """The name in figures."""
        return f"{self.model}, fully emulated{self.trap_label}"

    @property
    def backend(self) -> str:
        """QEMU, which moves every packet."""
        return "qemu"
