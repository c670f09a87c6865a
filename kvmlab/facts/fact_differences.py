"""Differences between two inspections of one host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kvmlab.errors import UsageError
from kvmlab.facts.display import Cell, Section, Sheet, as_html, as_text

if TYPE_CHECKING:
    from kvmlab.facts.host_facts import HostFacts
    from kvmlab.facts.types import Link, NetFunction

_NOTHING: Final = "–"
_COMPARED: Final = (
    "network functions with their drivers and VFs, interfaces with their MAC, MTU, addresses and "
    "switch, and kernel modules"
)


@dataclass(frozen=True)
class Difference:
    """One thing that reads otherwise; "–" where it is not there."""

    what: str
    before: str
    after: str


@dataclass(frozen=True, repr=False)
class Differences:
    """All that differs between two inspections; empty, and then false, where nothing does.

    What comes and goes by itself is not compared: carrier and speed of a link.
    """

    items: tuple[Difference, ...]

    def __bool__(self) -> bool:
        return bool(self.items)

    def __str__(self) -> str:
        """Return plain text for a terminal."""
        return as_text(self._sheet())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return HTML for a notebook."""
        return as_html(self._sheet())

    def _sheet(self) -> Sheet:
        if not self.items:
            return Sheet("Nothing differs.", f"Compared were {_COMPARED}.", ())
        rows = tuple(
            (Cell(difference.what), Cell(difference.before), Cell(difference.after))
            for difference in self.items
        )
        return Sheet("What differs", "", (Section("", rows, ("what", "before", "after")),))


def differences(before: HostFacts, after: HostFacts) -> Differences:
    """Compare two inspections of one host, the earlier first.

    Raises:
        UsageError: they are of two hosts.
    """
    if before.spec != after.spec:
        raise UsageError(
            f"These inspections are of two hosts, {before.label} and {after.label}.",
            todo="Compare two inspections of one.",
        )
    old, new = dict(_readings(before)), dict(_readings(after))
    # What is of one device stands together, also where it is only there afterwards.
    groups = list(dict.fromkeys(_of(name) for name in (*old, *new)))
    names = sorted(dict.fromkeys((*old, *new)), key=lambda name: groups.index(_of(name)))
    pairs = ((name, old.get(name, _NOTHING), new.get(name, _NOTHING)) for name in names)
    return Differences(tuple(Difference(*pair) for pair in pairs if pair[1] != pair[2]))


def _of(name: str) -> str:
    return name.partition(" ")[0]


def _readings(facts: HostFacts) -> Iterator[tuple[str, str]]:
    for port in facts.ports:
        yield from _of_function(port).items()
    for link in facts.links:
        if not link.loopback:
            where = f" in namespace {link.netns}" if link.netns else ""
            yield f"interface {link.name}{where}", _settings(link)
    for name, state in facts.modules.items():
        yield f"module {name}", state.value


def _of_function(port: NetFunction) -> Mapping[str, str]:
    short = port.address.removeprefix("0000:")
    readings = {f"{short} driver": port.driver or "none"}
    if port.driver_override:
        readings[f"{short} only driver allowed"] = port.driver_override
    if port.sriov_numvfs is not None:
        readings[f"{short} VFs"] = str(port.sriov_numvfs)
    return readings


def _settings(link: Link) -> str:
    words = ["up" if link.up else "down", f"MTU {link.mtu}", link.mac]
    words += [f"in {link.master}"] if link.master else []
    return ", ".join([*words, *sorted(link.addresses)])
