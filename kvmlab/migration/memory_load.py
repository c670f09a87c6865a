"""A program in the VM that writes memory while the VM migrates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from kvmlab.errors import GuestCommandFailed, KvmlabError, OutputError, Unavailable, UsageError
from kvmlab.hosts import script_text
from kvmlab.migration.guest_program import end_program, start_program

if TYPE_CHECKING:
    from kvmlab.domain import TestVM

_GUEST_SEC: Final = 120.0
_RECORD: Final = "/run/kvmlab-load"
#: A program whose controller has died ends by itself.
_LIFE_SEC: Final = 1800
_MOST_MIB: Final = 1 << 20


@dataclass(frozen=True)
class MemoryLoad:
    """A load of the VM: ``mib_per_sec`` MiB of a working set of ``working_set_mib`` MiB a second.

    Raises:
        UsageError: one of them is less than 1.
    """

    mib_per_sec: int
    working_set_mib: int = 64

    def __post_init__(self) -> None:
        for name, value in (
            ("rate", self.mib_per_sec),
            ("working set", self.working_set_mib),
        ):
            if not 1 <= value <= _MOST_MIB:
                raise UsageError(
                    f"A {name} of {value} MiB cannot be written.", todo="Use 1 MiB or more."
                )

    def __str__(self) -> str:
        return f"{self.mib_per_sec} MiB/s of {self.working_set_mib} MiB"


class MemoryWriter:
    """The program inside ``vm``, from `start` to `stop`; it moves with the VM.

    Whoever migrates the VM sets ``vm`` to where it runs then. ``mib_per_sec`` is what it wrote,
    once it has ended; 0 without a load.
    """

    def __init__(self, load: MemoryLoad | None, vm: TestVM) -> None:
        self.vm = vm
        self.mib_per_sec = 0.0
        self._load = load
        self._handle: int | None = None

    def start(self) -> None:
        """Fill the working set inside the VM, and begin to write; without a load do nothing.

        Raises:
            Unavailable: the VM's memory has no room for the working set.
            AgentTimeout: the guest agent does not answer.
        """
        if self._load is None:
            return
        try:
            self.vm.agent.run(self._argv("prepare"), timeout_sec=_GUEST_SEC)
        except GuestCommandFailed as error:
            reason = error.evidence.strip()
            raise Unavailable(
                f"A working set of {self._load.working_set_mib} MiB cannot be made in "
                f"{self.vm.name}: {reason}.",
                todo="Choose a smaller one, or give the VM more memory.",
            ) from error
        self._handle = start_program(self.vm, _RECORD, self._argv("run"))

    def stop(self) -> None:
        """End the program; a second time does nothing.

        Raises:
            AgentTimeout, GuestCommandFailed: the guest agent does not answer, or it had failed.
            OutputError: it printed something else than its figures.
        """
        handle, self._handle = self._handle, None
        if handle is None:
            return
        end_program(self.vm, _RECORD)
        text = self.vm.agent.wait(handle, self._argv("run"), timeout_sec=_GUEST_SEC).stdout
        try:
            hundredths, kib = map(int, text.split())
        except ValueError as error:
            raise OutputError(
                "The program that writes memory in the VM printed no figures.", evidence=text[-400:]
            ) from error
        self.mib_per_sec = kib / 1024 / (hundredths / 100) if hundredths else 0.0

    @property
    def figures(self) -> dict[str, Any]:
        """The load and what came of it, as fields of a result; empty without a load."""
        if self._load is None:
            return {}
        return {"load": str(self._load), "written_mib_per_sec": self.mib_per_sec}

    def _argv(self, action: str) -> tuple[str, ...]:
        assert self._load is not None
        numbers = (self._load.mib_per_sec, self._load.working_set_mib, _LIFE_SEC)
        text = script_text("kvmlab.migration", "write_memory.sh")
        return ("sh", "-c", text, "write_memory.sh", action, *map(str, numbers))


@contextmanager
def written_memory(load: MemoryLoad | None, vm: TestVM) -> Iterator[MemoryWriter]:
    """Write memory inside ``vm`` for the length of the block, wherever it runs at its end.

    Raises: as `MemoryWriter.start` and `MemoryWriter.stop`.
    """
    writer = MemoryWriter(load, vm)
    writer.start()
    try:
        yield writer
    except BaseException:
        with suppress(KvmlabError):
            writer.stop()
        raise
    writer.stop()
