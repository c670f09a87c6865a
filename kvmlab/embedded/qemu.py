"""The QEMU that runs the lab host: this machine's where it is fit, otherwise the image's own.

A QEMU is judged by its answers over QMP (0.05 s): whether it has the 82576 with the property that
lets a second port be found, the IOMMU with interrupt remapping, a user network and a memory file
that can be mapped privately. Its version comes last, for the one defect that answers cannot show.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvmlab import process
from kvmlab.errors import KvmlabError, OutputError, QemuUnfit

PROGRAM = "qemu-system-x86_64"
# Before 10.0.13 the registers of a virtual function are dead: "PF still in reset state" in the
# lab host, and no carrier. 10.0.2 was seen to fail, 10.0.13 to work.
FIRST_VERSION_WITH_LIVE_VFS = (10, 0, 13)
PROBE_SEC = 20.0

_ORIGINS = {
    "machine": "of this machine",
    "image": "from the image",
    "built": "built for emulation",
    "given": "as given",
}

# What the topology uses, and the properties without which it does not come up as the article's.
NEEDED_DEVICES = {
    "igb": frozenset({"x-pcie-ari-nextfn-1"}),
    "e1000e": frozenset[str](),
    "intel-iommu": frozenset({"intremap", "caching-mode", "device-iotlb"}),
    "pcie-root-port": frozenset[str](),
    "virtio-net-pci": frozenset[str](),
    "virtio-blk-pci": frozenset[str](),
    "virtio-rng-pci": frozenset[str](),
}
NEEDED_MEMORY_PROPERTIES = frozenset({"share", "readonly", "rom"})


@dataclass(frozen=True)
class Qemu:
    """A QEMU that can be started.

    Attributes:
        argv: what starts it: the program, or the image's loader with libraries and firmware.
        env: variables to add to its environment.
        program: the program file itself.
        version: major, minor, micro.
        version_text: the version with the package's name, as QEMU reports it.
        origin: "machine", "image", "built" or "given".
        digest: hash of the program file, part of the key of saved states.
    """

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    program: Path
    version: tuple[int, int, int]
    version_text: str
    origin: str
    digest: str

    def __str__(self) -> str:
        """Return version and origin: `QEMU 10.0.13 (Debian …), from the image`."""
        return f"QEMU {self.version_text}, {_ORIGINS.get(self.origin, self.origin)}"

    def to_dict(self) -> dict[str, Any]:
        """Return a form for JSON."""
        return {
            "argv": list(self.argv),
            "env": dict(self.env),
            "program": str(self.program),
            "version": list(self.version),
            "version_text": self.version_text,
            "origin": self.origin,
            "digest": self.digest,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Qemu:
        """Return the QEMU that `to_dict` has turned into ``data``."""
        major, minor, micro = data["version"]
        return cls(
            argv=tuple(data["argv"]),
            env=tuple(sorted(data["env"].items())),
            program=Path(data["program"]),
            version=(major, minor, micro),
            version_text=data["version_text"],
            origin=data["origin"],
            digest=data["digest"],
        )


@dataclass(frozen=True)
class Abilities:
    """A QEMU's version and what the lab host misses in it."""

    version: tuple[int, int, int]
    package: str
    missing: tuple[str, ...]

    @property
    def unfit(self) -> tuple[str, ...]:
        """Reasons why it cannot run the lab host, one clause each; empty where it can."""
        reasons = tuple(f"it lacks {what}" for what in self.missing)
        if not reasons and self.version < FIRST_VERSION_WITH_LIVE_VFS:
            first = ".".join(map(str, FIRST_VERSION_WITH_LIVE_VFS))
            return (f"virtual functions of its 82576 do not work before {first}",)
        return reasons


def find_qemu(image: Path | None, user_choice: Path | None = None) -> Qemu:
    """Choose the QEMU that runs the lab host.

    Args:
        image: directory of the image, whose ``qemu/`` is used where the machine's is not fit.
        user_choice: taken if it is fit, and nothing else is tried.

    Raises:
        QemuUnfit: no QEMU is fit; the message says why for each that was tried.
    """
    if user_choice is not None:
        return user_qemu(user_choice)
    fit, refusals = fit_qemus(image)
    if fit:
        return fit[0]
    tried = " ".join(refusals) or f"There is no {PROGRAM} on this machine and no image."
    raise QemuUnfit(
        f"No QEMU here can run the embedded host. {tried}",
        todo="Build the image with `kvmlab host build`: it brings a QEMU that can.",
    )


def user_qemu(path: Path) -> Qemu:
    """Return the QEMU of the user's own choice.

    Raises:
        QemuUnfit: it is not there or not fit.
    """
    program = shutil.which(str(path))
    if program is None:
        raise QemuUnfit(f"There is no program {path}.", todo=f"Give the path of a {PROGRAM}.")
    return _judge((program,), (), Path(program), "given")


def fit_qemus(image: Path | None) -> tuple[list[Qemu], list[str]]:
    """Return the fit QEMUs of this machine and of the image, and why the others are not fit."""
    fit, refusals = [], []
    on_machine = shutil.which(PROGRAM)
    if on_machine is not None:
        try:
            fit.append(_judge((on_machine,), (), Path(on_machine).resolve(), "machine"))
        except QemuUnfit as error:
            refusals.append(error.message)
    if image is not None and (image / "qemu").is_dir():
        try:
            fit.append(packed_qemu(image, "image"))
        except QemuUnfit as error:
            refusals.append(error.message)
    return fit, refusals


def packed_qemu(directory: Path, origin: str) -> Qemu:
    """Return the QEMU in ``directory``, which has its own loader, libraries and firmware.

    Raises:
        QemuUnfit: it is not fit.
    """
    argv, env = image_qemu_argv(directory), image_qemu_env(directory)
    return _judge(argv, env, _program(directory), origin)


def _program(image: Path) -> Path:
    return image / "qemu" / "usr" / "bin" / PROGRAM


def image_qemu_argv(image: Path) -> tuple[str, ...]:
    """Return the command of the image's QEMU, with its own loader, libraries and firmware."""
    root = image / "qemu"
    loaders = [
        root / lib / "ld-linux-x86-64.so.2"
        for lib in ("usr/lib64", "lib64", "usr/lib/x86_64-linux-gnu")
    ]
    loader = next((path for path in loaders if path.exists()), loaders[0])
    firmware = [
        word
        for folder in ("usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu")
        if (root / folder).is_dir()
        for word in ("-L", str(root / folder))
    ]
    libraries = root / "usr" / "lib" / "x86_64-linux-gnu"
    return (str(loader), "--library-path", str(libraries), str(_program(image)), *firmware)


def image_qemu_env(image: Path) -> tuple[tuple[str, str], ...]:
    """Return the variable by which the image's QEMU finds its loadable modules."""
    modules = image / "qemu" / "usr" / "lib" / "x86_64-linux-gnu" / "qemu"
    return (("QEMU_MODULE_DIR", str(modules)),)


def _judge(
    argv: tuple[str, ...], env: tuple[tuple[str, str], ...], program: Path, origin: str
) -> Qemu:
    try:
        answers = process.run(
            [
                *(*argv, "-machine", "none", "-nodefaults", "-display", "none", "-S"),
                *("-accel", "tcg", "-qmp", "stdio"),
            ],
            timeout_sec=PROBE_SEC,
            input_text=questions(),
            env=dict(env),
        )
        abilities = parse_answers(answers.stdout)
    except KvmlabError as error:
        raise QemuUnfit(
            f"{program} did not answer over QMP: {error.message}",
            evidence=error.evidence,
        ) from error
    version_text = ".".join(map(str, abilities.version))
    if abilities.unfit:
        raise QemuUnfit(
            f"{program} (QEMU {version_text}) cannot run the lab host: "
            f"{'; '.join(abilities.unfit)}.",
            todo="Use the QEMU of the image, which `kvmlab host build` brings.",
        )
    return Qemu(
        argv=argv,
        env=env,
        program=program,
        version=abilities.version,
        version_text=f"{version_text} {abilities.package}".strip(),
        origin=origin,
        digest=_digest(program),
    )


def _digest(program: Path) -> str:
    with program.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def questions() -> str:
    """Return the questions to a QEMU as lines of QMP; each has its subject as id."""
    commands: list[dict[str, Any]] = [{"execute": "qmp_capabilities", "id": "hello"}]
    commands += [
        {"execute": "device-list-properties", "arguments": {"typename": name}, "id": name}
        for name in NEEDED_DEVICES
    ]
    commands.append(
        {
            "execute": "qom-list-properties",
            "arguments": {"typename": "memory-backend-file"},
            "id": "memory-backend-file",
        }
    )
    user_network = {"type": "user", "id": "probe"}
    commands.append({"execute": "netdev_add", "arguments": user_network, "id": "a user network"})
    commands.append({"execute": "quit", "id": "bye"})
    return "".join(json.dumps(command) + "\n" for command in commands)


def parse_answers(text: str) -> Abilities:
    """Parse the answers to `questions`.

    They look like this::

        {"QMP": {"version": {"qemu": {"micro": 13, "minor": 0, "major": 10}, "package": "Debian …"},
                 "capabilities": ["oob"]}}
        {"return": {}, "id": "hello"}
        {"return": [{"name": "x-pcie-ari-nextfn-1", "type": "bool"}, …], "id": "igb"}
        {"error": {"class": "DeviceNotFound", "desc": "…"}, "id": "virtio-rng-pci"}

    Raises:
        OutputError: the text is not that of QMP's answers.
    """
    try:
        lines = [json.loads(line) for line in text.splitlines() if line.strip()]
        greeting = lines[0]["QMP"]["version"]
        number = greeting["qemu"]
        version = (int(number["major"]), int(number["minor"]), int(number["micro"]))
    except (ValueError, LookupError, TypeError) as error:
        raise OutputError(
            "QEMU's answers over QMP could not be read.", evidence=text[:2000]
        ) from error
    answers = {line["id"]: line.get("return") for line in lines if "id" in line}
    missing = []
    for name, needed in NEEDED_DEVICES.items():
        missing += _lacking(f"the device {name}", answers.get(name), needed)
    memory = answers.get("memory-backend-file")
    missing += _lacking("memory from a file", memory, NEEDED_MEMORY_PROPERTIES)
    if answers.get("a user network") is None:
        missing.append("a user network (slirp)")
    package = str(greeting.get("package", "")).strip()
    return Abilities(version, f"({package})" if package else "", tuple(missing))


def _lacking(what: str, properties: Any, needed: frozenset[str]) -> list[str]:
    if not isinstance(properties, list):
        return [what]
    names = {entry.get("name") for entry in properties if isinstance(entry, dict)}
    return [f"the property {name} of {what}" for name in sorted(needed - names)]
