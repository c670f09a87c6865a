"""The interface of all runners of commands, and what they share: root by sudo, the path."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Protocol, runtime_checkable

from kvmlab.errors import CommandFailed, CommandTimeout, HostRefused
from kvmlab.hosts.remote_process import RemoteProcess
from kvmlab.process import Completed

#: Tools such as ``ip`` and ``ethtool`` live in sbin, which is not on the path of ordinary users
#: nor of commands that come in through ssh.
TOOL_PATH: Final = (
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin"
)

_SUDO: Final = ("sudo", "-n", "--")
#: Seconds between the SIGTERM and the SIGKILL of a deadline on the machine itself.
_KILL_AFTER_SEC: Final = 2
#: Seconds that a caller waits beyond that deadline: the machine ends its command first.
DEADLINE_GRACE_SEC: Final = 5.0
_TIMED_OUT: Final = 124
#: A killed command: as a shell reports it, and as ssh does.
_KILLED: Final = (137, 255)


@runtime_checkable
class Runner(Protocol):
    """Interface: run commands on one machine, argv in, a frozen result out, with a deadline."""

    @property
    def name(self) -> str:
        """The machine's name in messages: "this machine", "root@kvm1", "embedded host"."""

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

    def spawn(
        self,
        argv: Sequence[str],
        *,
        root: bool = False,
        shown_as: Sequence[str] | None = None,
    ) -> RemoteProcess:
        """Start ``argv`` there and go on; the locale is C.

        ``shown_as`` replaces the argv in messages. The process sees the end of its input when
        this process ends, in whichever way.

        Raises:
            HostRefused, HostUnreachable, HostError: it cannot be started.
        """

    def close(self) -> None:
        """Release everything that the runner holds; may be called twice."""


def with_root(argv: Sequence[str], *, root: bool, uid: int) -> tuple[str, ...]:
    """Return ``argv``, with sudo in front where ``root`` is set and user ``uid`` is not root.

    >>> with_root(("ip", "link"), root=True, uid=1000)
    ('sudo', '-n', '--', 'ip', 'link')
    """
    words = tuple(argv)
    return (*_SUDO, *words) if root and uid != 0 else words


def with_deadline(
    argv: Sequence[str], *, timeout_sec: float, root: bool, uid: int
) -> tuple[str, ...]:
    """Return ``argv`` as `with_root` does, with a deadline that the machine itself enforces.

    A command that only its caller here stops waiting for would go on there. What runs as root can
    only be ended by root, so the deadline is inside of sudo; its rule is the one for ``sh``.

    >>> with_deadline(("ip", "link"), timeout_sec=60, root=True, uid=1000)[:3]
    ('sudo', '-n', '--')
    >>> with_deadline(("ip", "link"), timeout_sec=60, root=True, uid=0)
    ('timeout', '-k', '2', '60', 'ip', 'link')
    """
    seconds = str(max(1, math.ceil(timeout_sec)))
    words = ("timeout", "-k", str(_KILL_AFTER_SEC), seconds, *argv)
    if root and uid != 0:
        return (*_SUDO, "sh", "-c", 'exec "$@"', "kvmlab", *words)
    return words


def raise_if_ended_by_deadline(completed: Completed, *, timeout_sec: float) -> None:
    """Raise the timeout of a command that ``timeout`` has ended on the machine itself.

    Raises:
        CommandTimeout: it was ended there, so nothing of it runs any more.
    """
    late = completed.elapsed_sec >= timeout_sec
    if completed.returncode == _TIMED_OUT or (completed.returncode in _KILLED and late):
        raise CommandTimeout(
            f"`{completed.command}` on {completed.host} did not end within {timeout_sec:g} s and "
            "was killed.",
            evidence=(completed.stderr or completed.stdout)[-4000:],
            may_still_run=False,
        )


def refuse_without_root(completed: Completed) -> None:
    """Raise where ``completed`` is a refusal of sudo, with the sudoers line that is missing.

    Raises:
        HostRefused: ``completed`` is a ``sudo -n`` that did not start its command.
    """
    if completed.argv[: len(_SUDO)] != _SUDO or completed.returncode not in (1, 127):
        return
    if not completed.stderr.startswith("sudo:") and "sudo: not found" not in completed.stderr:
        return
    raise HostRefused(
        f"`{completed.command}` needs root on {completed.host}, and sudo there did not give it "
        "without a password.",
        todo="Connect as root, or let sudo run `sh`, through which everything goes: the line "
        "`USER ALL=(root) NOPASSWD: /usr/bin/sh` in /etc/sudoers.d/kvmlab; docs/real-host.md says "
        "what it means.",
        evidence=completed.stderr,
    )


def checked(completed: Completed, *, check: bool) -> Completed:
    """Return ``completed``, or raise the error that it stands for.

    Raises:
        HostRefused: sudo refused.
        CommandFailed: the exit code is not zero and ``check`` is set.
    """
    refuse_without_root(completed)
    if check and completed.returncode != 0:
        raise CommandFailed(completed)
    return completed
