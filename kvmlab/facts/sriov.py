"""Why the kernel refuses a number of VFs: its error, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from kvmlab.facts.types import NetFunction

#: What a shell prints of an error number, and the number's name.
_ERRORS: Final = {
    "Device or resource busy": "EBUSY",
    "Numerical result out of range": "ERANGE",
    "Result not representable": "ERANGE",
    "Cannot allocate memory": "ENOMEM",
    "Out of memory": "ENOMEM",
    "No space left on device": "ENOSPC",
    "Permission denied": "EACCES",
    "Operation not permitted": "EPERM",
    "No such file or directory": "ENOENT",
    "Invalid argument": "EINVAL",
}


def error_name(text: str) -> str | None:
    """``EBUSY`` from ``sh: write error: Device or resource busy``; None for an unknown text."""
    return next((name for said, name in _ERRORS.items() if said in text), None)


def explain_numvfs(text: str, *, wanted: int, port: NetFunction) -> str:
    """What it means that writing ``wanted`` into ``port``'s sriov_numvfs failed with ``text``."""
    name = port.name or port.address
    total, now = port.sriov_totalvfs, port.sriov_numvfs or 0
    path = f"/sys/bus/pci/devices/{port.address}/sriov_numvfs"
    sentences = {
        "EBUSY": f"{name} has {now} VFs, and the kernel changes their number only from 0: write 0 "
        f"into {path} first, then {wanted}.",
        "ERANGE": f"{wanted} VFs are more than {name} and its driver allow: sriov_totalvfs is "
        f"{total}.",
        "ENOMEM": f"The firmware or a bridge above {name} left no MMIO space or no bus numbers for "
        f"{wanted} VFs: ask for fewer, switch SR-IOV on in the firmware, or boot with "
        "`pci=realloc,assign-busses`.",
        "ENOSPC": f"There are no interrupt vectors left for {wanted} VFs of {name}: ask for fewer.",
        "EACCES": f"Only root may write {path}.",
        "EPERM": f"The driver of {name} refuses: VFs of it are still in use by a VM.",
        "ENOENT": f"The driver of {name} ({port.driver or 'none'}) has no sriov_numvfs.",
        "EINVAL": f"{name} cannot have {wanted} VFs.",
    }
    return sentences.get(error_name(text) or "", f"The kernel refused {wanted} VFs of {name}.")


def refusals(*, wanted: int, port: NetFunction) -> tuple[tuple[str, str], ...]:
    """What a tool may print when the kernel refuses so many VFs of ``port``, and what it means."""
    return tuple((said, explain_numvfs(said, wanted=wanted, port=port)) for said in _ERRORS)
