"""Counting what virtual CPUs do by programs in the host's kernel: a fifth of a histogram's price.

They live as long as the program on the host that loaded them, and that one as long as the
connection to it: a run that is killed leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from kvmlab.errors import MeasureError, OutputError
from kvmlab.measure.vcpu_map import PLACE_BYTES, maps_bytes
from kvmlab.measure.vcpu_programs import Attached, Fields, light, thorough
from kvmlab.process import Lines

if TYPE_CHECKING:
    from kvmlab.hosts import Host

_FIELDS: Final = "=== fields "
_MAPS: Final = "=== maps "
_EMPTY_SOFTIRQS: Final = b"empty 1\n"
_COUNTING: Final = "=== counting"
_RECORDS: Final = ("kvm/kvm_exit", "sched/sched_switch")


class CannotCount(MeasureError):
    """The host's kernel takes no such program, or there is no perl to load it."""


class VcpuCounters:
    """Programs for some virtual CPUs' threads, from now until :meth:`end`.

    Args of the constructor: the host; the threads' ids; how many seconds of our own an answer may
    take.

    Raises:
        CannotCount: the host does not take them; the message says why.
        HostUnreachable, HostError: the host does not answer.
    """

    def __init__(self, host: Host, tids: Sequence[int], *, answer_sec: float) -> None:
        self.tids = tuple(tids)
        self._host = host
        self._answer_sec = answer_sec
        sizes = map(str, maps_bytes(self.tids))
        argv = ("sh", "-c", 'exec perl - "$@"', "sh", ",".join(sizes), *_RECORDS)
        self._process = host.runner.start(argv, root=True)
        assert self._process.stdout is not None
        self._lines = Lines(self._process.stdout)
        try:
            script = files("kvmlab.measure").joinpath("scripts", "vcpus.pl").read_bytes()
            heard, self._maps = self._answer(script, _MAPS)
            fields = dict(_fields(line) for line in heard if line.startswith(_FIELDS))
            self._light = light(self.tids, fields.get(_RECORDS[0], {}))
            self._thorough = thorough(self.tids, fields.get(_RECORDS[1], {}))
            self.run(self._light)
        except OutputError as error:
            self.end()
            raise self._refused(str(error)) from error
        except BaseException:
            self.end()
            raise
        self._is_thorough = False

    @property
    def place(self) -> str:
        """Where a snapshot reads them: both maps, bytes a thread, the threads in their order."""
        return f"{self._maps}:{PLACE_BYTES}:{','.join(map(str, self.tids))}"

    def be_thorough(self, wanted: bool) -> None:
        """Tell KVM from QEMU from now on, or no more; a table of softirqs begins anew.

        Raises:
            CannotCount: the host does not take what that needs; these counters have ended.
        """
        if wanted != self._is_thorough:
            self.run((*self._light, *self._thorough) if wanted else self._light)
            self._is_thorough = wanted
        if wanted:
            # Programs come and go, and each takes a place.
            self._answer(_EMPTY_SOFTIRQS, _COUNTING)

    def run(self, programs: Sequence[Attached]) -> None:
        """Have these programs in the kernel, and of those that were there no others.

        Raises:
            CannotCount: one of them was refused; these counters have ended.
        """
        words = " ".join(program.word for program in programs)
        self._answer(f"{words}\n".encode(), _COUNTING)

    def end(self) -> None:
        """Take the programs away; a second call does nothing."""
        if self._process.stdout is not None and not self._process.stdout.closed:
            self._process.kill()
            self._process.communicate()

    def _answer(self, said: bytes, wanted: str) -> tuple[list[str], str]:
        """What it says until a line that begins as ``wanted``, and the rest of that line."""
        assert self._process.stdin is not None
        heard: list[str] = []
        try:
            self._process.stdin.write(said)
            self._process.stdin.flush()
            while (line := self._lines.next(timeout_sec=self._answer_sec)) is not None:
                if line.startswith(wanted):
                    return heard, line.removeprefix(wanted)
                heard.append(line)
        except BrokenPipeError:
            heard.append("it ended")
        self._process.kill()
        _, moaned = self._process.communicate()
        why = " ".join((*heard, moaned.decode(errors="replace").strip()))
        raise self._refused(why.strip() or "no answer")

    def _refused(self, why: str) -> CannotCount:
        return CannotCount(
            f"{self._host.label} takes no programs that count what virtual CPUs do.",
            todo="Histograms of tracefs count the same at a higher price.",
            evidence=why,
        )


def _fields(line: str) -> tuple[str, Fields]:
    event, *fields = line.removeprefix(_FIELDS).split()
    return event, {name: int(offset) for name, _, offset in (f.partition(":") for f in fields)}
