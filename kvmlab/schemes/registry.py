"""The registry of schemes: one id for each, in the article's order.

An id means the same on the command line, in panels, in advice and in stored results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from kvmlab.errors import UsageError, did_you_mean
from kvmlab.schemes.base import Scheme
from kvmlab.schemes.full_emulation import FullEmulation
from kvmlab.schemes.macvtap import Macvtap
from kvmlab.schemes.options import Option, options_of
from kvmlab.schemes.passthrough import PciPassthrough
from kvmlab.schemes.sriov import SriovVf
from kvmlab.schemes.virtio import Virtio


@dataclass(frozen=True)
class SchemeEntry:
    """A registered scheme: its class and the options that make it this one.

    ``lab_options`` are those that the lab adds where a person names no options: in panels and
    when it finds out what a host can do. The command line leaves them out. ``is_variant`` marks a
    scheme that differs from another one only by an option.
    """

    kind: type[Scheme]
    identity: Mapping[str, object] = field(default_factory=dict)
    lab_options: Mapping[str, object] = field(default_factory=dict)
    is_variant: bool = False

    @property
    def scheme(self) -> Scheme:
        """The scheme as the lab offers it."""
        return self.kind(**self.identity, **self.lab_options)

    @property
    def options(self) -> dict[str, Option]:
        """The options that a person may choose, by name."""
        return {
            option.name: option
            for option in options_of(self.kind)
            if option.name not in self.identity
        }


_ENTRIES: Final = (
    SchemeEntry(FullEmulation, {"model": "e1000"}),
    SchemeEntry(FullEmulation, {"model": "e1000e"}),
    SchemeEntry(Virtio, {"backend": "qemu"}),
    SchemeEntry(Virtio, {"backend": "vhost"}),
    SchemeEntry(Virtio, {"backend": "vhost", "queues": 4}, is_variant=True),
    SchemeEntry(Macvtap),
    SchemeEntry(Macvtap, {"model": "e1000"}, is_variant=True),
    SchemeEntry(Macvtap, {"backend": "qemu"}, is_variant=True),
    # Taking the rest of an IOMMU group away from a host is for a person to ask for by name.
    SchemeEntry(PciPassthrough, lab_options={"group": "take"}),
    SchemeEntry(SriovVf),
)
#: All schemes by id.
REGISTRY: Final[Mapping[str, SchemeEntry]] = {entry.scheme.id: entry for entry in _ENTRIES}
#: One scheme of each kind: what the doctor judges and the adviser chooses from.
CATALOGUE: Final = tuple(entry.scheme for entry in _ENTRIES if not entry.is_variant)
#: Ids that panels had before, which stored notebooks may hold.
ALIASES: Final = {
    "virtio": "virtio-qemu",
    "virtio-queues": "virtio-vhost-q4",
    "exclusive-nic": "passthrough",
}


def scheme_from_text(scheme_id: str, options: Mapping[str, str] | None = None) -> Scheme:
    """Return the scheme with that id; ``options`` are its parameters as text: ``{"vfs": "4"}``.

    >>> scheme_from_text("macvtap", {"mode": "vepa"}).id
    'macvtap-vepa'

    Raises:
        UsageError: there is no such scheme or option, or the text is no value of it.
    """
    entry = REGISTRY.get(scheme_id)
    if entry is None:
        hint = did_you_mean(scheme_id, REGISTRY)
        raise UsageError(
            f"There is no scheme {scheme_id!r}.{hint}",
            todo=f"The schemes are {', '.join(REGISTRY)}.",
        )
    values: dict[str, object] = {}
    for name, text in (options or {}).items():
        if name not in entry.options:
            hint = did_you_mean(name, entry.options)
            raise UsageError(
                f"The scheme {scheme_id} has no option {name!r}.{hint}",
                todo=f"It has {', '.join(entry.options)}.",
            )
        values[name] = entry.options[name].read(text)
    return entry.kind(**entry.identity, **values)
