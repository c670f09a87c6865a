"""Rules from ssh's messages to errors of kvmlab."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from kvmlab.errors import HostError, HostRefused, HostUnreachable
from kvmlab.hosts.ssh_target import SshTarget


@dataclass(frozen=True)
class _Rule:
    pattern: str
    error: type[HostError]
    message: str
    todo: str


_BY_HAND: Final = "Connect once by hand with `{by_hand}`, compare the fingerprint and accept it."

#: First match wins.
_RULES: Final = (
    _Rule(
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|host key for .* has changed",
        HostRefused,
        "The host key of {host} is not the one that is known: the host was installed anew, or "
        "somebody is in between.",
        "If you know why it changed, remove the old key with `ssh-keygen -R {known_name}` and "
        "connect once by hand.",
    ),
    _Rule(
        r"REVOKED HOST KEY",
        HostRefused,
        "The host key of {host} is marked as revoked.",
        "Ask the administrator of the host.",
    ),
    _Rule(
        r"Host key verification failed|host key is known for",
        HostRefused,
        "The host key of {host} is not known on this machine.",
        _BY_HAND,
    ),
    _Rule(
        r"Bad owner or permissions|UNPROTECTED PRIVATE KEY|bad permissions",
        HostRefused,
        "A key or configuration file of ssh can be read by others, so ssh does not use it.",
        "Take the permissions away with `chmod 600` on the file named below.",
    ),
    _Rule(
        r"Permission denied \(|Too many authentication failures|No more authentication methods",
        HostRefused,
        "{host} would want a password, or does not know the key; kvmlab never asks for passwords.",
        "Set up a key with `ssh-copy-id{port_option} {login}`, or load it with `ssh-add`, until "
        "`{by_hand}` logs in without a question.",
    ),
    _Rule(
        r"account is currently not available|This account",
        HostRefused,
        "{host} does not let this user run commands.",
        "Use a user with a shell.",
    ),
    _Rule(
        r"Could not resolve hostname",
        HostUnreachable,
        "The name of {host} cannot be resolved.",
        "Check the spelling, or give an address.",
    ),
    _Rule(
        r"Connection refused",
        HostUnreachable,
        "{host} is there, but nothing listens on its ssh port {port}.",
        "Check the port, and that sshd runs on the host.",
    ),
    _Rule(
        r"No route to host|Network is unreachable|Connection timed out|Operation timed out"
        r"|Timeout, server",
        HostUnreachable,
        "{host} does not answer on port {port}.",
        "Check that the host is up and that no firewall is in between.",
    ),
    _Rule(
        r"no matching (key exchange|host key type|cipher|MAC)|no hostkey alg",
        HostUnreachable,
        "{host} and this machine share no ssh algorithm.",
        "Update ssh on the host, or allow the older algorithm in your ssh configuration.",
    ),
    _Rule(
        r"Bad configuration option|keyword .* extra arguments|no argument after keyword",
        HostError,
        "The ssh of this machine does not understand its configuration.",
        "Check ~/.ssh/config, or the version of ssh (8.7 or newer is needed).",
    ),
    _Rule(
        r"kex_exchange_identification|banner exchange|Connection (closed|reset) by",
        HostUnreachable,
        "What answers on port {port} of {host} closes the connection and may be no ssh server.",
        "Check the port; if it is right, look at the log of sshd on the host.",
    ),
)


def ssh_error(
    text: str, *, host: str, target: SshTarget, waited_sec: float | None = None
) -> HostError:
    """Return the error for ssh's own message ``text``.

    ``waited_sec`` says that the deadline passed before ssh said anything final.
    """
    port = f" -p {target.port}" if target.port != 22 else ""
    who = f"{target.user}@" if target.user else ""
    known_name = f"'[{target.address}]:{target.port}'" if target.port != 22 else target.address
    words = {
        "host": host,
        "port": str(target.port),
        "port_option": port,
        "login": f"{who}{target.address}",
        "by_hand": f"ssh{port} {who}{target.address} true",
        "known_name": known_name,
    }
    for rule in _RULES:
        if re.search(rule.pattern, text):
            return rule.error(
                rule.message.format(**words), todo=rule.todo.format(**words), evidence=text
            )
    if waited_sec is not None:
        return HostUnreachable(
            f"{host} did not answer on port {target.port} within {waited_sec:g} s.",
            todo="Check that the host is up and that its port is an ssh server's.",
            evidence=text,
        )
    return HostUnreachable(
        f"ssh could not open a connection to {host}.",
        todo=f"Try `{words['by_hand']}` by hand.",
        evidence=text,
    )
