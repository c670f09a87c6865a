"""Hot-plug and unplug, each complete when libvirt's event arrives."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from kvmlab.errors import HostError, HotplugFailed, LibvirtFailed
from kvmlab.hosts import libvirt_client

if TYPE_CHECKING:
    from kvmlab.domain.vm import TestVM

#: A guest that is busy with the arrival of a device may lose the request to release it.
_ASK_AGAIN_SEC: Final = 3.0


@dataclass(frozen=True)
class _Event:
    kind: str  # "added", "removed", "refused", "stopped"
    alias: str


class _Events:
    """Queue of libvirt's events of one domain, filled by its event thread."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[_Event] = SimpleQueue()

    def put(self, kind: str, alias: str) -> None:
        self._queue.put(_Event(kind, alias))

    def next(self, alias: str, *, timeout_sec: float) -> _Event | None:
        """Return the next event of this device or of the whole domain; None after the deadline."""
        deadline = time.monotonic() + timeout_sec
        while True:
            try:
                event = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                return None
            if event.alias in (alias, ""):
                return event


@contextmanager
def _listening(vm: TestVM, *kinds: str) -> Iterator[_Events]:
    """Register for events of these kinds before the block runs, so that none is missed."""
    library = libvirt_client.library()
    connection = vm.host.libvirt
    events = _Events()
    numbers = {
        "added": library.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED,
        "removed": library.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
        "refused": library.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED,
    }

    def device(_connection: Any, _domain: Any, alias: str, kind: str) -> None:
        events.put(kind, alias)

    def life(_connection: Any, _domain: Any, event: int, _detail: int, _opaque: None) -> None:
        if event == library.VIR_DOMAIN_EVENT_STOPPED:
            events.put("stopped", "")

    registered: list[int] = []

    def register(number: int, callback: Any, opaque: str | None) -> None:
        registered.append(
            libvirt_client.call(
                connection.domainEventRegisterAny,
                vm.handle,
                number,
                callback,
                opaque,
                what="listen to its events",
                host=vm.host.label,
            )
        )

    try:
        for kind in kinds:
            register(numbers[kind], device, kind)
        register(library.VIR_DOMAIN_EVENT_ID_LIFECYCLE, life, None)
        yield events
    finally:
        for identifier in registered:
            libvirt_client.call(connection.domainEventDeregisterAny, identifier, host=vm.host.label)


def attach(vm: TestVM, device_xml: str, alias: str, *, timeout_sec: float) -> None:
    """Plug a device with this alias into the running domain and wait for its event.

    Raises:
        HotplugFailed: libvirt or QEMU refused, the VM stopped, or no event came in time.
    """
    library = libvirt_client.library()
    with _listening(vm, "added") as events:
        try:
            libvirt_client.call(
                vm.handle.attachDeviceFlags,
                device_xml,
                library.VIR_DOMAIN_AFFECT_LIVE,
                what=f"attach an interface to {vm.name}",
                host=vm.host.label,
            )
        except LibvirtFailed as error:
            raise HotplugFailed(
                error.message,
                todo="The XML that was refused is below; `kvmlab doctor` knows common causes.",
                evidence=device_xml,
            ) from error
        event = events.next(alias, timeout_sec=timeout_sec)
    if event is None or event.kind != "added":
        happened = "the VM stopped" if event else f"no event came within {timeout_sec:g} s"
        raise HotplugFailed(
            f"The interface was passed to {vm.name}, but {happened}.", evidence=device_xml
        )


def detach(vm: TestVM, alias: str, *, timeout_sec: float) -> None:
    """Ask the guest to release the device, again where the request is lost, until it is gone.

    Raises:
        HotplugFailed: the guest refused, or the device was still there after ``timeout_sec``.
    """
    deadline = time.monotonic() + timeout_sec
    objection = ""
    with _listening(vm, "removed", "refused") as events:
        while (left := deadline - time.monotonic()) > 0:
            objection = _ask_to_remove(vm, alias)
            if objection and not vm.has_device(alias):
                return
            event = events.next(alias, timeout_sec=min(left, _ASK_AGAIN_SEC))
            if event is not None and event.kind == "refused":
                raise HotplugFailed(
                    f"The guest in {vm.name} refused to release the interface {alias}.",
                    todo="Free it inside the VM (a bond, a bridge or a program may hold it), "
                    "then try again.",
                )
            if event is not None or not vm.has_device(alias):
                return
    raise HotplugFailed(
        f"The interface {alias} was still in {vm.name} after {timeout_sec:g} s.",
        todo="Look whether its guest still runs; stopping the VM frees the interface.",
        evidence=objection,
    )


def settle(vm: TestVM, alias: str) -> bool:
    """Wait for the end of a hot-plug that may be under way; return whether the device is there.

    libvirt queues changes of one domain: a request to remove the device is answered after it.

    Raises:
        HostUnreachable: libvirt is gone.
    """
    _ask_to_remove(vm, alias)
    return vm.has_device(alias)


def _ask_to_remove(vm: TestVM, alias: str) -> str:
    """Send one request; return libvirt's objection, if any.

    It may only mean "requested already", or that the VM has died and the device with it: whether
    the device is still there decides, and a connection that is really lost cannot say so.
    """
    try:
        libvirt_client.call(
            vm.handle.detachDeviceAlias, alias, 0, what=f"detach {alias}", host=vm.host.label
        )
    except HostError as error:
        return error.message
    return ""
