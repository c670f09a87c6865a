"""From settings to one lab host, complete: image, QEMU, accelerator."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

from kvmlab.clock import Clock
from kvmlab.embedded import client, paths
from kvmlab.embedded.accel import Accel, choose_accel
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
        ImageBuildFailed: the image or the QEMU for emulation cannot be built.
        QemuUnfit: no QEMU can run it.
        Unavailable: KVM was asked for and cannot run it.
    """
    image = build_image(progress)
    qemu, accel = choose_machine(settings, image.path, progress)
    return Spec(
        run_dir=Path(),
        states=paths.states_dir(),
        images=image.path.parent,
        image=image.path,
        image_hash=image.recipe_hash,
        qemu=qemu,
        accel=accel,
        settings=settings,
        preparation=preparation,
        owner_pid=os.getpid(),
        owner=client.command_line(),
    )


def build_all(progress: Progress) -> tuple[Image, Qemu]:
    """Everything that emulation needs, built where it is missing: image and QEMU.

    Both are built side by side: while one downloads, the other compiles.

    Raises:
        ImageBuildFailed: the image or the QEMU for emulation cannot be built.
        QemuUnfit: no QEMU can run the lab host.
    """
    # A daemon: whoever gives up on the image (Ctrl-C) does not wait for the compiler, which ends
    # with this process; _for_emulation then builds, or waits for the builder, or finds it there.
    compiling = threading.Thread(target=_build_quietly, args=(progress,), daemon=True)
    if not is_built() and _ready_for_emulation(None) is None:
        compiling.start()
    image = build_image(progress)
    if compiling.is_alive():
        compiling.join()
    return image, _for_emulation(image.path, progress)


def _build_quietly(progress: Progress) -> None:
    # What failed here is tried again where it is needed, and fails there for all to see.
    with contextlib.suppress(EmbeddedError):
        build_emulator(progress)


def is_built() -> bool:
    """Whether `build_all` would find everything there."""
    image = find_image()
    return image is not None and (
        find_emulator() is not None or _ready_for_emulation(image.path) is not None
    )


def choose_machine(settings: Settings, image: Path, progress: Progress) -> tuple[Qemu, Accel]:
    """QEMU and accelerator for these settings.

    Emulation needs a QEMU that delivers an injected interrupt once, which released ones do not:
    the test VM hangs with them under the virtual clock. Where none here does, one is built; it
    cannot do KVM, which can do with any. Under the wall clock, with CPUs side by side, it needs
    more that no probe can show (docs/qemu-svm-lost-flags.md): there the built one is taken at once.

    Raises:
        ImageBuildFailed: the QEMU for emulation cannot be built.
        QemuUnfit: no QEMU can run the lab host with this clock.
        Unavailable: KVM was asked for and cannot run the lab host.
    """
    if settings.clock is Clock.VIRTUAL:
        if settings.qemu is None:
            qemu = _for_emulation(image, progress)
        else:
            qemu = _injecting_once(given_qemu(settings.qemu))
        return qemu, choose_accel(settings, qemu, image)
    qemu = find_qemu(image, settings.qemu)
    accel = choose_accel(settings, qemu, image)
    if accel.name == "tcg" and settings.qemu is None:
        qemu = _built(progress)
    return qemu, accel


def _for_emulation(image: Path, progress: Progress) -> Qemu:
    return _ready_for_emulation(image) or _built(progress)


def _built(progress: Progress) -> Qemu:
    emulator = find_emulator()
    if emulator is None:
        progress("building a QEMU for emulation, once: a few minutes")
        emulator = build_emulator(progress)
    return _injecting_once(packed_qemu(emulator.path, "built"))


def _ready_for_emulation(image: Path | None) -> Qemu | None:
    fit, _ = fit_qemus(image)
    return next((qemu for qemu in fit if injects_once(qemu)), None)


def _injecting_once(qemu: Qemu) -> Qemu:
    if not injects_once(qemu):
        raise QemuUnfit(
            f"{qemu.program} delivers interrupts twice under the virtual clock, which hangs the "
            "test VM.",
            todo="Leave the choice of QEMU to kvmlab, or use the wall clock, where it is rare.",
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
