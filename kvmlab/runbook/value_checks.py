"""Checks of the notebooks' parameters, so that a bad value is known before anything starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, get_args, get_type_hints

from kvmlab.advice import Need
from kvmlab.errors import UsageError
from kvmlab.hosts import Cable, parse_uri
from kvmlab.lab import EMBEDDED, parse_clock, parse_vm
from kvmlab.measure import Trials
from kvmlab.runbook.parameters import Value
from kvmlab.schemes import FullEmulation, SriovVf
from kvmlab.schemes.queues import check_queues


def _check_model(value: Value) -> None:
    models = get_args(get_type_hints(FullEmulation)["model"])
    if value not in models:
        raise UsageError(
            f"There is no emulated NIC {value!r} here.", todo=f"Use {' or '.join(models)}."
        )


def _check_queues(value: Value) -> None:
    check_queues(int(value), 0)
    if int(value) < 2:
        raise UsageError("One queue pair leaves nothing to step through.", todo="Use 2 or 4.")


#: Each raises UsageError for a value that a notebook could not use.
_CHECKS: Final[Mapping[str, Callable[[Value], object]]] = {
    "HOST": lambda value: value == EMBEDDED or parse_uri(str(value)),
    "CLOCK": lambda value: parse_clock(str(value)),
    "CABLE": lambda value: value == "" or Cable.parse(str(value)),
    "VM": lambda value: parse_vm(str(value)),
    "TRIALS": lambda value: Trials(count=value),  # type: ignore[arg-type]
    "SECONDS": lambda value: Trials(seconds=value),  # type: ignore[arg-type]
    "FLOWS": lambda value: Trials(flows=value),  # type: ignore[arg-type]
    "QUEUES": _check_queues,
    "VFS": lambda value: SriovVf(vfs=int(value)),
    "MODEL": _check_model,
    "GUEST": lambda value: Need.of(str(value), "bulk", 1, False),
    "LOAD": lambda value: Need.of("linux", str(value), 1, False),
}


def check_values(parameters: Mapping[str, Value]) -> None:
    """Raise for a parameter whose value no notebook can use.

    Raises:
        UsageError: there is one; the message names it and says what would do.
    """
    for name, value in parameters.items():
        check = _CHECKS.get(name)
        if check is None:
            continue
        try:
            check(value)
        except UsageError as error:
            raise UsageError(
                f"{name}={value}: {error.message}", todo=error.todo, evidence=error.evidence
            ) from error
