"""The dask scheduler that hands out work: one in this process, or any by its address."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from kvmlab.errors import HostUnreachable

if TYPE_CHECKING:
    from distributed import Client

_CONNECT_SEC: Final = 30
# A task may keep its thread for minutes: dask's complaints about that are none of ours.
_SETTINGS: Final = {"distributed.admin.tick.limit": "60s"}
_LOGGERS: Final = ("distributed", "distributed.client")


@contextlib.contextmanager
def connected(
    address: str, jobs: int, *, settings: Mapping[str, object] | None = None
) -> Iterator[Client]:
    """Connect to the scheduler at ``address``; without one, start one for ``jobs`` threads here.

    The one in this process listens on no port. ``settings`` are dask's. Its log is left out: what
    dask loses is reported by whoever notices.

    Raises:
        HostUnreachable: the scheduler does not answer.
    """
    import dask
    from distributed import Client

    with (
        dask.config.set({**_SETTINGS, **(settings or {})}),
        _without_logs(),
        contextlib.ExitStack() as stack,
    ):
        if address:
            try:
                client = stack.enter_context(Client(address, timeout=_CONNECT_SEC))
            except (OSError, TimeoutError, ValueError) as error:
                raise HostUnreachable(
                    f"The dask scheduler {address} does not answer: {error}.",
                    todo="Start one with `dask scheduler`, and workers with `dask worker`; or name "
                    "none, to use this machine.",
                ) from error
            yield client
            return
        yield stack.enter_context(Client(stack.enter_context(_cluster(jobs))))


def _cluster(jobs: int) -> Any:
    """Return a cluster of one worker with ``jobs`` threads, all in this process."""
    from distributed import Scheduler, SpecCluster, Worker

    # A LocalCluster listens for HTTP on all of the machine's addresses, dashboard or not.
    class PortlessScheduler(Scheduler):
        def start_http_server(self, *arguments: object, **options: object) -> None:
            """Start none: it would be open to every user of the machine."""

    class PortlessWorker(Worker):
        def start_http_server(self, *arguments: object, **options: object) -> None:
            """Start none, as in the scheduler."""

    return SpecCluster(
        scheduler={
            "cls": PortlessScheduler,
            "options": {"protocol": "inproc://", "dashboard": False},
        },
        workers={
            0: {
                "cls": PortlessWorker,
                "options": {"nthreads": jobs, "dashboard": False, "memory_limit": 0},
            }
        },
        silence_logs=logging.ERROR,
    )


@contextlib.contextmanager
def _without_logs() -> Iterator[None]:
    """Keep dask's tracebacks off the screen: each loss is reported once, in a sentence."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
