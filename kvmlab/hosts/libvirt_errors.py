"""Rules from libvirt's error codes and texts to errors of kvmlab.

Codes are those of ``virErrorNumber``, which are part of libvirt's stable interface; they are
written out here so that this table can be read and tested without libvirt-python.
"""

from __future__ import annotations

import re
from typing import Final

from kvmlab.errors import (
    DomainNotFound,
    HostRefused,
    HostUnreachable,
    KvmlabError,
    LibvirtFailed,
    Unavailable,
)

_NO_CONNECT: Final = 5
_INVALID_CONN: Final = 6
_SYSTEM_ERROR: Final = 38
_RPC: Final = 39
_NO_DOMAIN: Final = 42
_AUTH_FAILED: Final = 45
_AUTH_CANCELLED: Final = 79
_AUTH_UNAVAILABLE: Final = 80
_CONNECTION_CODES: Final = (_NO_CONNECT, _INVALID_CONN, _SYSTEM_ERROR, _RPC)

_REFUSED: Final = re.compile(
    r"socket.*Permission denied|authentication unavailable|authentication failed|access denied"
    # The daemon asks polkit over the system bus who may use it.
    r"|system bus connection",
    re.IGNORECASE,
)
_NO_LIBVIRT: Final = re.compile(
    r"Failed to connect socket to .*(No such file|Connection refused)"
    r"|(virt-ssh-helper|nc|ncat|netcat): (not found|command not found|No such file)"
    r"|Cannot find .* (libvirtd|virtqemud|virt-ssh-helper)"
    r"|no connection driver available|unable to connect to socket",
    re.IGNORECASE,
)
_LOST: Final = re.compile(
    r"shared connection is gone|End of file while|Cannot recv data|Cannot write data"
    r"|connection closed|client socket is closed|internal error: connection"
    r"|Broken pipe|Connection reset",
    re.IGNORECASE,
)


def libvirt_error(*, code: int, text: str, what: str, host: str) -> KvmlabError:
    """Return the error for libvirt's own ``code`` and ``text``.

    ``what`` completes "could not …". A code that is in no rule becomes LibvirtFailed, which
    carries it.
    """
    if code == _NO_DOMAIN:
        return DomainNotFound(
            f"There is no such domain on {host}.",
            todo="`virsh list --all` lists those there are.",
            evidence=text,
        )
    if code in (_AUTH_FAILED, _AUTH_CANCELLED, _AUTH_UNAVAILABLE) or _REFUSED.search(text):
        return HostRefused(
            f"libvirt on {host} does not let this user in.",
            todo="Add the user to the group libvirt on that host (`usermod -aG libvirt USER`, "
            "then log in again), or connect as root.",
            evidence=text,
        )
    if _NO_LIBVIRT.search(text):
        return Unavailable(
            f"No libvirt answers on {host}.",
            rule="libvirt-missing",
            todo="Install and start it there (Debian: libvirt-daemon-system; "
            "`systemctl enable --now libvirtd`).",
            evidence=text,
        )
    # The client library's own word, under the code of an internal error.
    closed = "client socket is closed" in text
    if closed or (code in _CONNECTION_CODES and _LOST.search(text)):
        return HostUnreachable(
            f"The connection to libvirt on {host} was lost, or never came about.",
            todo="Look whether the host is up and libvirtd runs there, then open the host again.",
            evidence=text,
        )
    return LibvirtFailed(f"libvirt on {host} could not {what}: {text}.", code=code)
