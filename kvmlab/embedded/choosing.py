"""From settings to one lab host, complete: image, QEMU, accelerator."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

from kvmlab.clock import Clock
from kvmlab.embedded import client, paths
from kvmlab.embedded.accel import choose_accel
from kvmlab.embedded.building import Progress
from kvmlab.embedded.emulator import build_emulator, find_emulator
from kvmlab.embedded.image import Image, build_image, find_image
from kvmlab.embedded.qemu import Qemu, find_qemu, fit_qemus, given_qemu, packed_qemu
from kvmlab.embedded.settings import Settings, available_memory_mib
from kvmlab.embedded.spec import Spec
from kvmlab.embedded.svm_probe import injects_once
from kvmlab.errors import EmbeddedError, QemuUnfit

NEEDED_MEMORY_MIB = 1200


def choose(settings: Settings, preparation: str, progress: Progress) -> Spec:
    """Everything that a lab host with these settings needs; what is missing is built.

    Raises:
        ImageBuildFailed: the image or the QEMU for the virtual clock cannot be built.
        QemuUnfit: no QEMU can run it.
        Unavailable: KVM was asked for and cannot run it.
    """
    image = build_image(progress)
    qemu = choose_qemu(settings, image.path, progress)
    return Spec(
        run_dir=Path(),
        states=paths.states_dir(),
        images=image.path.parent,
        image=image.path,
        image_hash=image.recipe_hash,
        qemu=qemu,
        accel=choose_accel(settings, qemu, image.path),
        settings=settings,
        preparation=preparation,
        owner_pid=os.getpid(),
        owner=client.command_line(),
    )


def build_all(progress: Progress) -> tuple[Image, Qemu]:
    """Everything that the virtual clock needs, built where it is missing.

    Image and QEMU are built side by side: while one downloads, the other compiles.

    Raises:
        ImageBuildFailed: the image or the QEMU for the virtual clock cannot be built.
        QemuUnfit: no QEMU can run the lab host.
    """
    # A daemon: whoever gives up on the image (Ctrl-C) does not wait for the compiler, which ends
    # with this process; choose_qemu then builds, or waits for the builder, or finds it there.
    compiling = threading.Thread(target=_build_quietly, args=(progress,), daemon=True)
    if not is_built() and _ready_for_virtual_clock(None) is None:
        compiling.start()
    image = build_image(progress)
    if compiling.is_alive():
        compiling.join()
    return image, choose_qemu(Settings(clock=Clock.VIRTUAL), image.path, progress)


def _build_quietly(progress: Progress) -> None:
    # What failed here is tried again where it is needed, and fails there for all to see.
    with contextlib.suppress(EmbeddedError):
        build_emulator(progress)


def is_built() -> bool:
    """Whether `build_all` would find everything there."""
    image = find_image()
    return image is not None and (
        find_emulator() is not None or _ready_for_virtual_clock(image.path) is not None
    )


def choose_qemu(settings: Settings, image: Path, progress: Progress) -> Qemu:
    """The QEMU for these settings.

    The virtual clock needs one that delivers an injected interrupt once, which released ones do
    not: with them the test VM hangs. Where none here does, one is built.

    Raises:
        QemuUnfit: no QEMU can run the lab host with this clock.
        ImageBuildFailed: the QEMU for the virtual clock cannot be built.
    """
    if settings.clock is Clock.WALL:
        return find_qemu(image, settings.qemu)
    if settings.qemu is not None:
        return _with_virtual_clock(given_qemu(settings.qemu))
    ready = _ready_for_virtual_clock(image)
    if ready is not None:
        return ready
    emulator = find_emulator()
    if emulator is None:
        progress("building a QEMU for the virtual clock, once: a few minutes")
        emulator = build_emulator(progress)
    return _with_virtual_clock(packed_qemu(emulator.path, "built"))


def _ready_for_virtual_clock(image: Path | None) -> Qemu | None:
    fit, _ = fit_qemus(image)
    return next((qemu for qemu in fit if injects_once(qemu)), None)


def _with_virtual_clock(qemu: Qemu) -> Qemu:
    if not injects_once(qemu):
        raise QemuUnfit(
            f"{qemu.program} delivers interrupts twice under the virtual clock, which hangs the "
            "test VM.",
            todo="Use the wall clock, or leave the choice of QEMU to kvmlab.",
        )
    return qemu


def difference(found: Spec, wanted: Spec) -> str:
    """In what a running host is not the one that is wanted; nothing where it is."""
    pairs = {
        "image": (found.image_hash, wanted.image_hash),
        "preparation": (found.preparation, wanted.preparation),
        "clock": (found.settings.clock, wanted.settings.clock),
        "accelerator": (found.accel.name, wanted.accel.name),
        "memory": (found.settings.memory_mib, wanted.settings.memory_mib),
        "number of CPUs": (found.settings.cpus_used, wanted.settings.cpus_used),
        "QEMU": (found.qemu.digest, wanted.qemu.digest),
    }
    return ", ".join(f"another {name}" for name, (one, other) in pairs.items() if one != other)


def check_memory() -> None:
    """Refuse to start a host where it would drive the machine out of memory.

    Raises:
        EmbeddedError: too little memory is available.
    """
    available = available_memory_mib()
    if available < NEEDED_MEMORY_MIB:
        raise EmbeddedError(
            f"This machine has {available} MiB of memory available; the embedded host needs about "
            f"{NEEDED_MEMORY_MIB} MiB.",
            todo="End other programs, or another embedded host (`kvmlab host status`).",
        )
