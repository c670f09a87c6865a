"""What every way of running commands on a host has in common."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Final, Protocol, runtime_checkable

from kvmlab.errors import CommandFailed, HostRefused
from kvmlab.process import Completed

#: Tools such as ``ip`` and ``ethtool`` live in sbin, which is not on the path of ordinary users
#: nor of commands that come in through ssh.
TOOL_PATH: Final = (
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin"
)

_SUDO: Final = ("sudo", "-n", "--")
#: Of the tools that need root, those that Debian has in sbin.
_SBIN: Final = ("bridge", "ip", "modprobe")


@runtime_checkable
class Runner(Protocol):
    """Runs commands on one machine: argv in, a frozen result out, a deadline always."""

    @property
    def name(self) -> str:
        """How messages call the machine: "this machine", "root@kvm1", "embedded host"."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_sec: float,
        input_text: str | None = None,
        check: bool = True,
        root: bool = False,
    ) -> Completed:
        """Run ``argv`` there and wait for it, at most ``timeout_sec`` seconds.

        The locale is C. ``root`` says that the command needs root: a runner that is not root
        there goes through ``sudo -n``, which never asks for a password.

        Raises:
            CommandFailed: the exit code is not zero and ``check`` is set.
            CommandTimeout: the deadline passed.
            HostRefused: root was needed and the machine would not give it.
            HostUnreachable: the connection to the machine is gone.
        """

    def start(self, argv: Sequence[str], *, root: bool = False) -> subprocess.Popen[bytes]:
        """Start ``argv`` there with pipes to it, and do not wait for it.

        It hears the end of its input when this process ends, in whichever way.

        Raises:
            HostRefused, HostUnreachable, HostError: it cannot be started.
        """

    def close(self) -> None:
        """Give everything back that the runner holds; may be called twice."""


def with_root(argv: Sequence[str], *, root: bool, uid: int) -> tuple[str, ...]:
    """``argv`` as it has to be typed by user ``uid`` so that it runs as root if ``root`` says so.

    >>> with_root(("ip", "link"), root=True, uid=1000)
    ('sudo', '-n', '--', 'ip', 'link')
    """
    words = tuple(argv)
    return (*_SUDO, *words) if root and uid != 0 else words


def refuse_without_root(completed: Completed) -> None:
    """Turn sudo's own refusal into a sentence that names the rule which is missing.

    Raises:
        HostRefused: ``completed`` is a ``sudo -n`` that did not start its command.
    """
    if completed.argv[: len(_SUDO)] != _SUDO or completed.returncode not in (1, 127):
        return
    if not completed.stderr.startswith("sudo:") and "sudo: not found" not in completed.stderr:
        return
    raise root_refused(
        completed.command, completed.argv[len(_SUDO)], host=completed.host, said=completed.stderr
    )


def root_refused(command: str, tool: str, *, host: str, said: str) -> HostRefused:
    """The error where sudo did not run ``tool``; it names the line that is missing."""
    folder = "/usr/sbin" if tool in _SBIN else "/usr/bin"
    return HostRefused(
        f"`{command}` needs root on {host}, and sudo there did not give it without a password.",
        todo=f"Connect as root, or let sudo run `{tool}`: the line `USER ALL=(root) NOPASSWD: "
        f"{folder}/{tool}` in /etc/sudoers.d/kvmlab. All the lines that kvmlab needs stand in "
        "docs/real-host.md, and what they mean.",
        evidence=said,
    )


def checked(completed: Completed, *, check: bool) -> Completed:
    """Hand ``completed`` on, or raise what it stands for.

    Raises:
        HostRefused: sudo refused.
        CommandFailed: the exit code is not zero and ``check`` is set.
    """
    refuse_without_root(completed)
    if check and completed.returncode != 0:
        raise CommandFailed(completed)
    return completed
