"""A note of what was started on a host, in a file that every process of a person reads."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from kvmlab.directories import private_dir, state_dir, write_atomically
from kvmlab.hosts.uri import host_key
from kvmlab.serialization import from_json, to_json

if TYPE_CHECKING:
    from kvmlab.hosts import Host


class OnEmulator(Protocol):
    """Something that was started on the host of one emulator process; None on a real host."""

    @property
    def emulator(self) -> int | None:
        """The process of the embedded host: a new one is a new host."""
        ...


StartedT = TypeVar("StartedT", bound=OnEmulator)


@dataclass(frozen=True)
class HostNote(Generic[StartedT]):
    """The file ``course/FOLDER/HOST.json`` of the state directory, one for each host.

    What a notebook has started is found by a command in a terminal beside it, and the other way.
    """

    folder: str
    kind: type[StartedT]

    def read(self, host: Host) -> StartedT | None:
        """Return what was started on ``host`` as it is now; None where nothing was."""
        with suppress(FileNotFoundError, ValueError):
            note = from_json(json.loads(self._path(host).read_text(encoding="utf-8")), self.kind)
            if note.emulator == host.emulator_pid:
                return note
        return None

    def write(self, host: Host, note: StartedT) -> None:
        """Write it in place of what was there, readable by this person only."""
        path = self._path(host)
        private_dir(path.parent)
        write_atomically(path, json.dumps(to_json(note)), mode=0o600)

    def remove(self, host: Host) -> None:
        """Forget it, where there is one."""
        self._path(host).unlink(missing_ok=True)

    def _path(self, host: Host) -> Path:
        return state_dir() / "course" / self.folder / f"{host_key(host.spec)}.json"
