"""Units of metrics, and the ending of the name that each of them needs."""

from __future__ import annotations

from kvmlab.errors import UsageError

# A name that ends in one of these carries that unit and no other.
UNIT_OF_SUFFIX = {
    "_mbps": "Mbit/s",
    "_pps": "packets/s",
    "_us": "µs",
    "_sec": "s",
    "_percent": "%",
    "_count": "",
}
# "vm_exits_per_packet" carries "exits/packet": what is counted is named by the unit alone.
PER_SUFFIXES = {"_per_packet": "/packet", "_per_mb": "/MB", "_per_sec": "/s"}


def check_unit(name: str, unit: str) -> None:
    """Check that the name of a metric ends in its unit.

    Raises:
        UsageError: the name has no unit, or another one.
    """
    for suffix, ending in PER_SUFFIXES.items():
        if name.endswith(suffix):
            if unit.endswith(ending):
                return
            raise UsageError(
                f"The metric `{name}` carries the unit `{unit}`; its name needs one that "
                f"ends in `{ending}`."
            )
    for suffix, expected in UNIT_OF_SUFFIX.items():
        if name.endswith(suffix):
            if unit == expected:
                return
            raise UsageError(
                f"The metric `{name}` carries the unit `{unit}`; its name says `{expected}`."
            )
    endings = ", ".join((*UNIT_OF_SUFFIX, *PER_SUFFIXES))
    raise UsageError(
        f"The name of the metric `{name}` does not say its unit.",
        todo=f"End it in one of {endings}.",
    )
