"""Parsers of the names that a user can give a host."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote, urlsplit

from kvmlab.errors import UsageError
from kvmlab.hosts.ssh_target import SshTarget

KINDS_SENTENCE = (
    'Use "embedded" (a KVM host that kvmlab emulates), "qemu:///system" (this machine), or '
    '"qemu+ssh://user@host/system" (any KVM host; also user@host:port).'
)

_PATHS = ("/system", "/session")
_LOGIN = "Write it as ssh://user@machine, where needed with :port."


class HostKind(StrEnum):
    """Kinds of hosts."""

    EMBEDDED = "embedded"
    LOCAL = "local"
    SSH = "ssh"
    RECORDED = "recorded"


@dataclass(frozen=True)
class HostUri:
    """A libvirt URI that kvmlab can open; ``ssh`` is None on this machine."""

    text: str
    path: str
    ssh: SshTarget | None


def parse_uri(spec: str) -> HostUri:
    """Parse a libvirt URI.

    >>> parse_uri("qemu+ssh://root@kvm1:2222/system").ssh
    SshTarget(address='kvm1', port=2222, user='root', key_path=None, known_hosts=None, options=())

    Raises:
        UsageError: no such kind of host; the message lists those there are.
    """
    try:
        parts = urlsplit(spec)
        port = parts.port
    except ValueError as error:
        raise _unusable(spec, f"{error}") from error
    if parts.scheme not in ("qemu", "qemu+ssh"):
        raise _unusable(spec, "it is none of the kinds of host")
    if parts.path not in _PATHS:
        raise _unusable(spec, 'it must end in "/system" or "/session"')
    if parts.query or parts.fragment:
        raise _unusable(spec, "kvmlab sets the parameters of the connection itself")
    if parts.password is not None:
        raise _unusable(spec, "kvmlab takes no passwords; set up an ssh key")
    if parts.scheme == "qemu":
        if parts.netloc:
            raise _unusable(spec, "for another machine it must begin with qemu+ssh://")
        return HostUri(spec, parts.path, None)
    if not parts.hostname or not re.fullmatch(r"[\w.:%-]+", parts.hostname):
        raise _unusable(spec, "it names no host")
    if parts.hostname.startswith("-") or (parts.username or "").startswith("-"):
        raise _unusable(spec, "a name may not begin with a dash")
    target = SshTarget(address=parts.hostname, port=port or 22, user=parts.username or None)
    return HostUri(spec, parts.path, target)


def parse_login(text: str) -> SshTarget:
    """Parse ``ssh://user@host[:port]``; the user's configuration completes port and user.

    >>> parse_login("ssh://root@[2001:db8::7]:2222").shown
    'root@[2001:db8::7]:2222'

    Raises:
        UsageError: it names no machine.
    """
    scheme, _, where = text.partition("://")
    try:
        target = parse_uri(f"qemu+ssh://{where}/system").ssh if scheme == "ssh" else None
    except UsageError as error:
        why = error.message.partition("as a host: ")[2]
        raise UsageError(f"{text!r} names no machine: {why}", todo=_LOGIN) from error
    if target is None:
        raise UsageError(f"{text!r} names no machine.", todo=_LOGIN)
    return target


def host_key(spec: str) -> str:
    """Return a host's spec as a file name, its own for each spec.

    >>> host_key("qemu+ssh://root@kvm1/system")
    'qemu+ssh-root@kvm1-system-e29ff58d'
    """
    digest = hashlib.sha256(spec.encode()).hexdigest()[:8]
    return f"{legacy_host_key(spec)[:80]}-{digest}"


def legacy_host_key(spec: str) -> str:
    """Return the name that kvmlab gave a host's folder before 2026-11-28, shared by some specs."""
    return re.sub(r"[^A-Za-z0-9_.+@]+", "-", spec).strip("-.") or "host"


def libvirt_ssh_uri(target: SshTarget, path: str, command: str) -> str:
    """Return the URI by which libvirt reaches ``target`` with ``command`` in the place of ssh."""
    who = f"{quote(target.user, safe='')}@" if target.user else ""
    where = f"[{target.address}]" if ":" in target.address else target.address
    return (
        f"qemu+ssh://{who}{where}:{target.port}{path}?command={quote(command, safe='/')}&no_tty=1"
    )


def _unusable(spec: str, why: str) -> UsageError:
    return UsageError(f'"{spec}" cannot be used as a host: {why}.', todo=KINDS_SENTENCE)
