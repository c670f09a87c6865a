"""Errors of the kernel when it refuses a number of VFs, in words."""

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
    "Function not implemented": "ENOSYS",
    "Operation not supported": "EOPNOTSUPP",
    "Not supported": "EOPNOTSUPP",
    "Input/output error": "EIO",
    "I/O error": "EIO",
    "No such device": "ENODEV",
    "Connection timed out": "ETIMEDOUT",
    "Resource temporarily unavailable": "EAGAIN",
}


def error_name(text: str) -> str | None:
    """Return ``EBUSY`` for ``sh: write error: Device or resource busy``; None if unknown."""
    return next((name for wording, name in _ERRORS.items() if wording in text), None)


def explain_numvfs(text: str, *, count: int, port: NetFunction) -> str:
    """Explain why writing ``count`` into ``port``'s sriov_numvfs failed with ``text``."""
    name = port.name or port.address
    total, now = port.sriov_totalvfs, port.sriov_numvfs or 0
    path = f"/sys/bus/pci/devices/{port.address}/sriov_numvfs"
    sentences = {
        "EBUSY": f"{name} has {now} VFs, and the kernel changes their number only from 0: write 0 "
        f"into {path} first, then {count}."
        if now
        else f"{name} has no VFs and is busy all the same (EBUSY): another change of it is under "
        "way, or its driver holds it for something else (bonding of a mlx5, switchdev mode, DCB).",
        "ERANGE": f"{count} VFs are more than {name} and its driver allow: sriov_totalvfs is "
        f"{total}.",
        "ENOMEM": f"The firmware or a bridge above {name} left no MMIO space or no bus numbers for "
        f"{count} VFs: ask for fewer, switch SR-IOV on in the firmware, or boot with "
        "`pci=realloc,assign-busses`.",
        "ENOSPC": f"There are no interrupt vectors left for {count} VFs of {name}: ask for fewer.",
        "EACCES": f"Only root may write {path}.",
        "EPERM": f"The driver of {name} refuses: VFs of it are still in use by a VM.",
        "ENOENT": f"The driver of {name} ({port.driver or 'none'}) has no sriov_numvfs.",
        "EINVAL": f"{name} cannot have {count} VFs.",
        "ENOSYS": f"The driver of {name} ({port.driver or 'none'}) has no SR-IOV by sriov_numvfs "
        "(ENOSYS); older ones take a module option (mlx4_core num_vfs=N).",
        "EOPNOTSUPP": f"The driver of {name} ({port.driver or 'none'}) refuses SR-IOV "
        "(EOPNOTSUPP): switched off in the card's firmware, or not in the port's present mode.",
        "EIO": f"{name} did not answer when {count} VFs were asked for (EIO): look at `dmesg`, and "
        "at the card's firmware.",
        "ENODEV": f"{name} is gone or hangs (ENODEV): look at `dmesg`.",
        "ETIMEDOUT": f"The firmware of {name} did not answer in time (ETIMEDOUT): look at `dmesg`, "
        "and update the card's firmware.",
        "EAGAIN": f"{name} is not ready (EAGAIN): its driver resets it or it is down. Switch it on "
        "and try again.",
    }
    word = text.strip().rpartition(": ")[2] or "no word"
    return sentences.get(
        error_name(text) or "", f"The kernel refused {count} VFs of {name}: {word}."
    )


def refusals(*, count: int, port: NetFunction) -> tuple[tuple[str, str], ...]:
    """Return what tools print when the kernel refuses ``count`` VFs, each with its meaning."""
    return tuple((wording, explain_numvfs(wording, count=count, port=port)) for wording in _ERRORS)
