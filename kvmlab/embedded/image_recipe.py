"""The recipe of the embedded host's image, and the hash that names it."""

from __future__ import annotations

import hashlib
import os
from importlib.resources import as_file, files
from pathlib import Path

SUITE = "trixie"
"""Debian 13: its QEMU 10.0.13 has an 82576 whose VFs answer; earlier releases do not."""

PACKAGES = (
    "linux-image-amd64",
    "libvirt-daemon",
    "libvirt-daemon-driver-qemu",
    "libvirt-daemon-driver-network",
    "libvirt-daemon-driver-nodedev",
    "libvirt-daemon-driver-interface",
    "libvirt-daemon-system",
    "libvirt-clients",
    "qemu-system-x86",
    "qemu-utils",
    "ipxe-qemu",
    "seabios",
    "iproute2",
    "iputils-ping",
    "ethtool",
    "pciutils",
    "kmod",
    "iperf3",
    "sockperf",
    "tcpdump",
    "procps",
    "util-linux",
    "openssh-server",
    "netcat-openbsd",
    "busybox-static",
    "qemu-guest-agent",
    "xz-utils",
)

_ONLY_LATER = (
    "libvirt-daemon-driver-network",
    "libvirt-daemon-driver-nodedev",
    "libvirt-daemon-driver-interface",
)
"""Parts of libvirt-daemon in Debian 12, packages of their own later."""

FORMAT = 1
"""Raised when the layout of the image directory changes."""


def suite() -> str:
    """Return the image's Debian suite: KVMLAB_IMAGE_SUITE (docs/real-host.md), or `SUITE`."""
    return os.environ.get("KVMLAB_IMAGE_SUITE", SUITE)


def packages() -> tuple[str, ...]:
    """Return the packages of the image, under the names of its suite."""
    if suite() == SUITE:
        return PACKAGES
    return tuple(name for name in PACKAGES if name not in _ONLY_LATER)


def files_dir() -> Path:
    """Return the directory of the scripts and settings that go into the image."""
    with as_file(files("kvmlab.embedded") / "files") as path:
        return path


def recipe_hash() -> str:
    """Return sixteen hex digits that change whenever anything of the recipe does.

    Package versions do not count: a rebuilt image may hold newer ones, and its manifest names them.
    """
    digest = hashlib.sha256(f"{FORMAT}\n{suite()}\n{' '.join(packages())}\n".encode())
    root = files_dir()
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(root)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
