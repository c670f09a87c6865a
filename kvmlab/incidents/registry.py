"""The registry of faults, and the choice among them by a seed and a level."""

from __future__ import annotations

import random
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from kvmlab.errors import UsageError, did_you_mean
from kvmlab.incidents.bridge_faults import BRIDGE_FAULTS
from kvmlab.incidents.fault import Fault
from kvmlab.incidents.guest_faults import GUEST_FAULTS
from kvmlab.incidents.health import Effect
from kvmlab.incidents.nic_faults import NIC_FAULTS
from kvmlab.incidents.port_faults import PORT_FAULTS

#: Every fault by its name. A new one is a class in one of the modules above, and in its tuple.
FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {kind.name: kind() for kind in (*PORT_FAULTS, *BRIDGE_FAULTS, *GUEST_FAULTS, *NIC_FAULTS)}
)
#: Levels 1 to 3 put in one fault, level 4 two at a time.
LEVELS: Final = (1, 2, 3, 4)


def find_fault(name: str) -> Fault:
    """Return the fault of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in FAULTS:
        hint = did_you_mean(name, FAULTS)
        raise UsageError(
            f"There is no fault {name!r}.{hint}",
            todo="`kvmlab incident faults` lists all of them.",
        )
    return FAULTS[name]


def draw(seed: int, level: int) -> tuple[Fault, ...]:
    """Return the faults of a seed and a level: always the same ones.

    Two faults at a time lie in different layers and show themselves differently, so that mending
    one does not hide behind the other.

    Raises:
        UsageError: there is no such level.
    """
    if level not in LEVELS:
        raise UsageError(
            f"There is no level {level}.", todo=f"The levels are {', '.join(map(str, LEVELS))}."
        )
    chooser = random.Random(f"{seed} {level}")
    if level < LEVELS[-1]:
        return (chooser.choice([fault for fault in FAULTS.values() if fault.level == level]),)
    first = chooser.choice([fault for fault in FAULTS.values() if _combines(fault)])
    second = chooser.choice(
        [
            fault
            for fault in FAULTS.values()
            if _combines(fault)
            and fault.layer is not first.layer
            and not set(fault.effects) & set(first.effects)
        ]
    )
    return first, second


def _combines(fault: Fault) -> bool:
    """Return whether a fault leaves enough of the network for another one to be seen."""
    return (
        fault.faulty_scheme is None
        and fault.scheme == Fault.scheme
        and not {Effect.UNREACHABLE, Effect.LARGE_LOST} & set(fault.effects)
    )
