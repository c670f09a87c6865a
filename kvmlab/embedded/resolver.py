"""The choice of image, QEMU and accelerator for a lab host with given settings."""

from __future__ import annotations

import contextlib
import os
import platform
import threading
from pathlib import Path

from kvmlab import directories
from kvmlab.capacity import available_memory_mib
from kvmlab.clock import Clock
from kvmlab.embedded import client
from kvmlab.embedded.accelerator import Accel, choose_accel
from kvmlab.embedded.emulator import build_emulator, find_emulator
from kvmlab.embedded.host_config import HostConfig
from kvmlab.embedded.image import Image, build_image, find_image
from kvmlab.embedded.package_builder import Progress
from kvmlab.embedded.qemu import Qemu, find_qemu, fit_qemus, packed_qemu, user_qemu
from kvmlab.embedded.settings import Settings
from kvmlab.embedded.svm_probe import injects_once
from kvmlab.errors import EmbeddedError, QemuUnfit, Unavailable

NEEDED_MEMORY_MIB = 1200


def check_architecture(machine: str) -> None:
    """See that the embedded host can run on a machine of that architecture, as uname names it.

    Raises:
        Unavailable: it cannot.
    """
    if machine != "x86_64":
        raise Unavailable(
            f"The embedded host runs on x86-64 machines, and this one is {machine}.",
            rule="embedded-architecture",
            todo="Run kvmlab on an x86-64 machine; hosts of another architecture are reached as "
            "qemu+ssh://USER@HOST/system.",
        )


def resolve_config(settings: Settings, preparation: str, progress: Progress) -> HostConfig:
    """Return the configuration for these settings; build image and QEMU where they are missing.

    Raises:
        ImageBuildFailed: the image or the QEMU for emulation cannot be built.
        QemuUnfit: no QEMU can run it.
        Unavailable: KVM was asked for and cannot run it; or this machine is no x86-64.
    """
    check_architecture(platform.machine())
    image = build_image(progress)
    qemu, accel = choose_machine(settings, image.path, progress)
    return HostConfig(
        run_dir=Path(),
        states=directories.states_dir(),
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
    """Return image and QEMU for emulation; build them where they are missing.

    Both are built side by side: while one downloads, the other compiles.

    Raises:
        ImageBuildFailed: the image or the QEMU for emulation cannot be built.
        QemuUnfit: no QEMU can run the lab host.
    """
    # A daemon thread: Ctrl-C does not wait for the compiler, which ends with this process.
    # _for_emulation then finds the QEMU, waits for its builder or builds it.
    compiling = threading.Thread(target=_build_quietly, args=(progress,), daemon=True)
    if not is_built() and _ready_for_emulation(None) is None:
        compiling.start()
    image = build_image(progress)
    if compiling.is_alive():
        compiling.join()
    return image, _for_emulation(image.path, progress)


def _build_quietly(progress: Progress) -> None:
    # A build that fails here is tried again, and reported, by _for_emulation.
    with contextlib.suppress(EmbeddedError):
        build_emulator(progress)


def is_built() -> bool:
    """Return True where `build_all` has nothing to build."""
    image = find_image()
    return image is not None and (
        find_emulator() is not None or _ready_for_emulation(image.path) is not None
    )


def choose_machine(settings: Settings, image: Path, progress: Progress) -> tuple[Qemu, Accel]:
    """Return QEMU and accelerator for these settings.

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
            qemu = _injecting_once(user_qemu(settings.qemu))
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


def difference(running: HostConfig, requested: HostConfig) -> str:
    """Return in what a running host differs from the requested one; "" where it does not."""
    pairs = {
        "image": (running.image_hash, requested.image_hash),
        "preparation": (running.preparation, requested.preparation),
        "clock": (running.settings.clock, requested.settings.clock),
        "accelerator": (running.accel.name, requested.accel.name),
        "memory": (running.settings.memory_mib, requested.settings.memory_mib),
        "number of CPUs": (running.settings.cpus_used, requested.settings.cpus_used),
        "QEMU": (running.qemu.digest, requested.qemu.digest),
    }
    return ", ".join(f"another {name}" for name, (left, right) in pairs.items() if left != right)


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
