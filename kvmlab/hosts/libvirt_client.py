"""libvirt connections with deadlines, and the one place that handles libvirt's errors.

libvirt-python is imported with the first connection, so that everything else works without
libvirt. Nothing else in kvmlab catches ``libvirtError``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from kvmlab.errors import HostUnreachable, KvmlabError, Unavailable
from kvmlab.hosts.libvirt_errors import libvirt_error

if TYPE_CHECKING:
    import libvirt

T = TypeVar("T")

#: Asked every 5 s; a connection without an answer for 30 s is over.
_KEEPALIVE_SEC: Final = 5
_KEEPALIVE_COUNT: Final = 6
_LOOK_SEC: Final = 0.25

_loop_lock = threading.Lock()
_loop: threading.Thread | None = None


def library() -> ModuleType:
    """Return the module libvirt of libvirt-python.

    Raises:
        Unavailable: it is not installed in this Python.
    """
    try:
        import libvirt
    except ImportError as error:
        raise Unavailable(
            f"libvirt-python cannot be loaded into this Python: {error}.",
            rule="libvirt-python-missing",
            todo="Run kvmlab through ./lab, or install libvirt-dev, pkg-config and a C compiler "
            "and then `pip install libvirt-python`.",
        ) from error
    module: ModuleType = libvirt
    return module


def start_event_loop() -> None:
    """Run libvirt's event loop in a daemon thread of its own, once per process.

    It has to be registered before the first connection is opened, or that connection has
    neither events nor keepalive.
    """
    global _loop
    module = library()
    with _loop_lock:
        if _loop is not None:
            return
        # libvirt prints every error to stderr by itself; ours are raised instead.
        module.registerErrorHandler(lambda *_: None, None)
        module.virEventRegisterDefaultImpl()
        _loop = threading.Thread(target=_turn, args=(module,), name="libvirt-events", daemon=True)
        _loop.start()


def open_connection(
    uri: str, *, host: str, deadline_sec: float = 10.0, read_only: bool = False
) -> libvirt.virConnect:
    """Open ``uri``, with events and keepalive, within ``deadline_sec``.

    Raises:
        HostUnreachable: no answer in time, or the connection to the host is gone.
        HostRefused: libvirt's socket is closed to this user.
        Unavailable: no libvirt on the host, or no libvirt-python here.
        LibvirtFailed: libvirt said something else.
    """
    start_event_loop()
    module = library()
    opener = module.openReadOnly if read_only else module.open

    def connect() -> Any:
        with translated(f"open {uri.partition('?')[0]}", host=host):
            connection = opener(uri)
            _keep_alive(module, connection)
            return connection

    return _within(deadline_sec, connect, host=host)


def is_alive(connection: libvirt.virConnect) -> bool:
    """Return False where the connection is known to be lost; nothing is sent."""
    module = library()
    try:
        return bool(connection.isAlive())
    except module.libvirtError:
        return False


def close_connection(connection: libvirt.virConnect) -> None:
    """Close ``connection``; ignore errors of one that is already broken."""
    module = library()
    with suppress(module.libvirtError):
        connection.close()


def call(function: Callable[..., T], *args: Any, what: str = "", host: str = "the host") -> T:
    """Return ``function(*args)``, with libvirt's errors translated.

    ``what`` completes "could not …" in messages; without it they name the function.

    Raises:
        DomainNotFound, HostRefused, HostUnreachable, Unavailable, LibvirtFailed: see
            :func:`kvmlab.hosts.libvirt_errors.libvirt_error`.
    """
    with translated(what or f"do {getattr(function, '__name__', 'a call')}", host=host):
        return function(*args)


@contextmanager
def translated(what: str, *, host: str = "the host") -> Iterator[None]:
    """Translate libvirt's errors inside the block; ``what`` completes "could not …"."""
    module = library()
    try:
        yield
    except module.libvirtError as error:
        raise libvirt_error(
            code=error.get_error_code() or -1,
            text=error.get_error_message() or str(error),
            what=what,
            host=host,
        ) from error


def _turn(module: ModuleType) -> None:
    while True:
        module.virEventRunDefaultImpl()


def _keep_alive(module: ModuleType, connection: Any) -> None:
    try:
        connection.setKeepAlive(_KEEPALIVE_SEC, _KEEPALIVE_COUNT)
    except module.libvirtError as error:
        # Drivers inside this process (test:///) have no connection that could freeze. The code is
        # lost (None) where Python collects another libvirt object just now.
        if error.get_error_code() not in (None, module.VIR_ERR_NO_SUPPORT):
            raise


def _within(deadline_sec: float, work: Callable[[], T], *, host: str) -> T:
    """Return ``work()``, with the deadline that libvirt's own opening does not have."""
    answers: SimpleQueue[tuple[T | None, KvmlabError | None]] = SimpleQueue()

    def run() -> None:
        try:
            answers.put((work(), None))
        except KvmlabError as error:
            answers.put((None, error))

    threading.Thread(target=run, name="libvirt-open", daemon=True).start()
    answer = _wait_with_deadline(answers, deadline_sec)
    if answer is None:
        raise HostUnreachable(
            f"libvirt on {host} did not answer within {deadline_sec:g} s.",
            todo="Look whether libvirtd (or virtqemud) runs there and whether its log complains.",
        )
    result, error = answer
    if error is not None:
        raise error
    assert result is not None
    return result


def _wait_with_deadline(answers: SimpleQueue[T], deadline_sec: float) -> T | None:
    """Return the first answer, None after the deadline.

    Time in which this process did not run (stopped, or starved by others) hardly counts, since
    the host could not answer then: each look costs at most _LOOK_SEC of the deadline.
    """
    for _ in range(max(1, round(deadline_sec / _LOOK_SEC))):
        with suppress(Empty):
            return answers.get(timeout=_LOOK_SEC)
    return None
