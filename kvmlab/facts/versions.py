"""Versions of tools: what kvmlab needs of a host, and how versions compare."""

from __future__ import annotations

import re
from typing import Final

#: `ip -j` names the device behind an interface (parentdev) since then.
MINIMUM_IPROUTE2: Final = "5.13"
#: <teaming>, <target managed=…> and QEMU's hot-unplug events as kvmlab uses them.
MINIMUM_LIBVIRT: Final = "9.0"
#: Hot-unplug that can be waited for, and vhost's options.
MINIMUM_QEMU: Final = "6.2"
#: Alternative names, and reset by name.
MINIMUM_KERNEL: Final = "5.4"


def version_tuple(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, so that versions compare.

    >>> version_tuple("6.1.0-40-amd64") > version_tuple("5.13")
    True
    >>> version_tuple("el7")
    ()
    """
    match = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def is_older(text: str, minimum: str) -> bool:
    """Return whether version ``text`` is known and older than ``minimum``.

    >>> is_older("4.15.0", "5.13"), is_older("", "5.13")
    (True, False)
    """
    version = version_tuple(text)
    return bool(version) and version < version_tuple(minimum)


def tool_version(text: str, tool: str) -> str:
    """Return what ``tool`` said of its version; empty where it said nothing.

    ::

        iproute2 ip utility, iproute2-6.1.0, libbpf 1.1.0
        page_bytes 4096

    >>> tool_version("iproute2 ip utility, iproute2-6.1.0, libbpf 1.1.0", "iproute2")
    'iproute2-6.1.0'
    """
    line = next((line for line in text.split("\n") if line.startswith(f"{tool} ")), "")
    match = re.search(rf"{tool}-[\w.]+|BusyBox v[\w.]+", line)
    return match[0] if match else line.removeprefix(f"{tool} ").strip()
