"""The host of a run: kept up for all its notebooks, put in order when one of them fails."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from kvmlab import embedded
from kvmlab.changes import restore
from kvmlab.clock import Clock
from kvmlab.errors import EmbeddedError, HostBusy, HostError, RevertFailed
from kvmlab.hosts import Host, open_host, parse_uri
from kvmlab.lab import EMBEDDED, as_clock, connect, preparation
from kvmlab.waiting import until

Say = Callable[[str], None]
_BUSY_SEC = 20.0


@dataclass(frozen=True)
class Wanted:
    """Which host a notebook asks for by its parameters HOST and CLOCK."""

    spec: str
    clock: Clock

    @classmethod
    def by(cls, values: Mapping[str, object]) -> Wanted:
        """From the values of a notebook's parameters.

        Raises:
            UsageError: there is no such clock, or no such kind of host.
        """
        spec = str(values.get("HOST", EMBEDDED))
        if spec != EMBEDDED:
            parse_uri(spec)
        return cls(spec, as_clock(str(values.get("CLOCK", Clock.VIRTUAL))))


class Hosting:
    """Keeps the host that is wanted now. The notebooks' kernels get ``environment``."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._wanted: Wanted | None = None
        self._run_host: embedded.RunHost | None = None
        self.environment: dict[str, str] = {}
        self.about: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def want(self, wanted: Wanted) -> None:
        """See that this host is there, and no other of ours.

        Raises:
            UsageError, HostUnreachable, HostRefused, EmbeddedError: it cannot be had.
        """
        if wanted == self._wanted:
            return
        self.close()
        if wanted.spec == EMBEDDED:
            self._run_host = embedded.hold(
                embedded.Settings(clock=wanted.clock),
                preparation=preparation(),
                progress=self._say,
            )
            self.environment = dict(self._run_host.environment)
            label, how = self._run_host.label, self._run_host.how
            self._say(f"embedded host ({label}): {how}")
            self.about = {"Host": f"embedded host ({label})", "Came up": how}
        else:
            # A host that does not answer is better known before the first notebook starts.
            with open_host(wanted.spec) as host:
                self._say(f"{host.label} answers")
                self.about = {"Host": host.label}
        self.about["Clock"] = wanted.clock.meaning
        self._wanted = wanted

    def restore(self) -> tuple[str, ...]:
        """Put back what a failed notebook left on the host; a sentence for each thing done.

        Raises:
            RevertFailed: something could not be put back.
        """
        if self._wanted is None:
            return ()
        try:
            return self._restored(self._wanted)
        except (HostError, EmbeddedError) as error:
            if self._wanted.spec == EMBEDDED:
                # It cannot be reached, and ends with the run; the next one starts clean.
                return ()
            if isinstance(error, HostBusy):
                raise RevertFailed(
                    f"{self._wanted.spec} was not put back in order: another lab works on it.",
                    todo=f"Run `kvmlab restore --host {self._wanted.spec}` when it has ended.",
                    evidence=error.evidence,
                ) from error
            raise RevertFailed(
                f"{self._wanted.spec} cannot be reached to put it back in order.",
                todo=f"Run `kvmlab restore --host {self._wanted.spec}` when it answers again.",
                evidence=str(error),
            ) from error

    def _restored(self, wanted: Wanted) -> tuple[str, ...]:
        """Wait a little for another lab that holds the host: it may be putting it back as well."""
        busy = ""

        def tried() -> list[tuple[str, ...]]:
            nonlocal busy
            try:
                with self._door(wanted) as host:
                    return [restore(host)]
            except HostBusy as error:
                busy = error.message
                return []

        (done,) = until(
            tried,
            timeout_sec=_BUSY_SEC,
            every_sec=0.5,
            what=f"The end of the other lab on {wanted.spec}",
            error=HostBusy,
            evidence=lambda: busy,
        )
        return done

    def close(self) -> None:
        """End the embedded host if it is this run's own."""
        self._wanted = None
        self.environment = {}
        if self._run_host is not None:
            self._run_host.close()
            self._run_host = None

    @contextlib.contextmanager
    def _door(self, wanted: Wanted) -> Iterator[Host]:
        if wanted.spec != EMBEDDED:
            with open_host(wanted.spec) as host:
                yield host
            return
        # The lease finds the run's host by the same variable as the notebooks do.
        os.environ.update(self.environment)
        try:
            settings = embedded.Settings(clock=wanted.clock)
            with (
                embedded.acquire(settings, preparation=preparation()) as lease,
                connect(lease) as host,
            ):
                yield host
        finally:
            for name in self.environment:
                os.environ.pop(name, None)
