"""The host of a run: kept up for all its notebooks, restored when one of them fails."""

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
from kvmlab.deadline import until
from kvmlab.errors import EmbeddedError, HostBusy, HostError, RevertFailed
from kvmlab.hosts import Host, open_host, parse_uri
from kvmlab.lab import EMBEDDED, connect, parse_clock, preparation
from kvmlab.language import N_

Say = Callable[[str], None]
_BUSY_SEC = 20.0


@dataclass(frozen=True)
class HostRequest:
    """The host that a notebook names by its parameters HOST and CLOCK."""

    spec: str
    clock: Clock

    @classmethod
    def of(cls, values: Mapping[str, object]) -> HostRequest | None:
        """Return the request in the values of a notebook's parameters; None if it declares no HOST.

        Raises:
            UsageError: there is no such clock, or no such kind of host.
        """
        if "HOST" not in values:
            return None
        spec = str(values["HOST"])
        if spec != EMBEDDED:
            parse_uri(spec)
        return cls(spec, parse_clock(str(values.get("CLOCK", Clock.VIRTUAL))))

    @property
    def may_share_machine(self) -> bool:
        """True where figures do not depend on what else this machine does."""
        return self.spec == EMBEDDED and self.clock is Clock.VIRTUAL


class RunHost:
    """The host that the next notebook needs; its kernel gets ``environment``.

    With ``private`` an embedded host is never the shared one.
    """

    def __init__(self, say: Say, *, private: bool = False) -> None:
        self._say = say
        self._private = private
        self._request: HostRequest | None = None
        self._shared_handle: embedded.SharedHandle | None = None
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

    def switch_to(self, request: HostRequest | None) -> None:
        """Start or reach this host, and end another embedded one of this run.

        A notebook without a request gets no host of the run's; the present one is kept for others.

        Raises:
            UsageError, HostUnreachable, HostRefused, EmbeddedError: it cannot be had.
        """
        if request is None or request == self._request:
            return
        self.close()
        if request.spec == EMBEDDED:
            self._shared_handle = embedded.hold(
                embedded.Settings(clock=request.clock),
                preparation=preparation(),
                progress=self._say,
                private=self._private,
            )
            self.environment = dict(self._shared_handle.environment)
            label, how = self._shared_handle.label, self._shared_handle.how
            self._say(f"embedded host ({label}): {how}")
            self.about = {N_("Host"): f"embedded host ({label})", N_("Came up"): how}
        else:
            # A host that does not answer is reported before the first notebook starts.
            with open_host(request.spec) as host:
                self._say(f"{host.label} answers")
                self.about = {"Host": host.label}
        self.about["Clock"] = request.clock.meaning
        self._request = request

    def restore(self) -> tuple[str, ...]:
        """Put back what a failed notebook left on the host; return a sentence for each thing done.

        Raises:
            RevertFailed: something could not be put back.
        """
        if self._request is None:
            return ()
        try:
            return self._restore_when_free(self._request)
        except (HostError, EmbeddedError) as error:
            if self._request.spec == EMBEDDED:
                # It cannot be reached, and ends with the run; the next one starts clean.
                return ()
            if isinstance(error, HostBusy):
                raise RevertFailed(
                    f"{self._request.spec} was not put back in order: another lab works on it.",
                    todo=f"Run `kvmlab restore --host {self._request.spec}` when it has ended.",
                    evidence=error.evidence,
                ) from error
            raise RevertFailed(
                f"{self._request.spec} cannot be reached to put it back in order.",
                todo=f"Run `kvmlab restore --host {self._request.spec}` when it answers again.",
                evidence=str(error),
            ) from error

    def _restore_when_free(self, request: HostRequest) -> tuple[str, ...]:
        """Wait a little for another lab that has the host: it may be restoring it as well."""
        busy = ""

        def attempt() -> list[tuple[str, ...]]:
            nonlocal busy
            try:
                with self._connection(request) as host:
                    return [restore(host)]
            except HostBusy as error:
                busy = error.message
                return []

        (sentences,) = until(
            attempt,
            timeout_sec=_BUSY_SEC,
            every_sec=0.5,
            what=f"The end of the other lab on {request.spec}",
            error=HostBusy,
            evidence=lambda: busy,
        )
        return sentences

    def close(self) -> None:
        """End the embedded host of this run."""
        self._request = None
        self.environment = {}
        if self._shared_handle is not None:
            self._shared_handle.close()
            self._shared_handle = None

    @contextlib.contextmanager
    def _connection(self, request: HostRequest) -> Iterator[Host]:
        if request.spec != EMBEDDED:
            with open_host(request.spec) as host:
                yield host
            return
        # A lease finds the run's host by this variable, as the notebooks do.
        os.environ.update(self.environment)
        try:
            settings = embedded.Settings(clock=request.clock)
            with (
                embedded.acquire(settings, preparation=preparation()) as lease,
                connect(lease) as host,
            ):
                yield host
        finally:
            for name in self.environment:
                os.environ.pop(name, None)
