"""Commands on another machine through one multiplexed ssh connection.

The connection is an ssh child process that runs ``cat`` on the host and whose standard input is
a pipe held by this process. Whichever way this process ends, the pipe closes, ``cat`` ends and
ssh with it: no master outlives us. Every command, and libvirt, is a client of its socket.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from kvmlab import process
from kvmlab.errors import HostError, HostUnreachable, reason_of
from kvmlab.hosts.remote_process import ProcessPipes, RemoteProcess
from kvmlab.hosts.runner import (
    DEADLINE_GRACE_SEC,
    TOOL_PATH,
    checked,
    raise_if_ended_by_deadline,
    refuse_without_root,
    with_deadline,
    with_root,
)
from kvmlab.hosts.runtime_dir import RuntimeDir
from kvmlab.hosts.ssh_errors import ssh_error
from kvmlab.hosts.ssh_target import SshTarget
from kvmlab.process import Completed

_HELLO: Final = "kvmlab-hello"
_SSH_FAILED: Final = 255
_USUAL_PORT: Final = 22

#: A connection without a sign of life for 30 s is over: emulated hosts stop for a few seconds
#: now and then (a save of their state), so not less.
_ALIVE: Final = ("ServerAliveInterval=5", "ServerAliveCountMax=6", "TCPKeepAlive=yes")

#: curve25519 first: on an emulated host it takes a fraction of the time of the post-quantum and
#: finite-field exchanges that newer versions of ssh prefer.
_KEX: Final = "KexAlgorithms=^curve25519-sha256,curve25519-sha256@libssh.org"

#: Options of interactive logins in a user's configuration that would break ours.
_PLAIN: Final = (
    "BatchMode=yes",
    "RemoteCommand=none",
    "RequestTTY=no",
    "PermitLocalCommand=no",
    "ForwardAgent=no",
    "ForwardX11=no",
    "ClearAllForwardings=yes",
    "EscapeChar=none",
    "LogLevel=ERROR",
)

#: Host keys are checked, whatever the user's own configuration says.
_CHECKED_KEYS: Final = (
    "StrictHostKeyChecking=yes",
    "NoHostAuthenticationForLocalhost=no",
    "VerifyHostKeyDNS=no",
)
#: Set to anything: the user's own configuration decides about host keys.
INSECURE_HOST_KEYS: Final = "KVMLAB_INSECURE_HOST_KEYS"

#: A client whose master is gone must not open a connection of its own.
_CLIENT: Final = (
    "ControlMaster=no",
    "BatchMode=yes",
    "RequestTTY=no",
    "LogLevel=ERROR",
    "ProxyCommand=echo the shared connection is gone >&2; exit 1",
)


class SshRunner:
    """Runner of commands on ``target`` through one ssh connection, opened by the constructor.

    Raises:
        HostUnreachable: no answer within ``deadline_sec``.
        HostRefused: the host key or the login was refused; no password is ever asked for.
    """

    def __init__(
        self, target: SshTarget, *, name: str | None = None, deadline_sec: float = 10.0
    ) -> None:
        self.target = target
        self.name = name or target.shown
        self._directory = RuntimeDir()
        self._socket = self._directory.path / "master"
        self._log = self._directory.path / "log"
        try:
            self._master = self._start()
        except OSError as error:
            self._directory.close()
            raise HostError(
                f"ssh could not be started: {reason_of(error)}.",
                todo="Install the OpenSSH client (Debian: openssh-client).",
            ) from error
        # Also runs when the interpreter ends without a close().
        self._end = weakref.finalize(self, _end, self._master, self._directory)
        try:
            self.uid = self._greet(deadline_sec)
            self.wrapper = self._write_wrapper()
        except BaseException:
            self.close()
            raise

    @property
    def is_open(self) -> bool:
        """True while the connection is not known to be lost."""
        return self._master.poll() is None

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_sec: float,
        input_text: str | None = None,
        check: bool = True,
        root: bool = False,
    ) -> Completed:
        """Run ``argv`` there; see :meth:`kvmlab.hosts.Runner.run`.

        The host itself ends the command at its deadline. Where that is not heard of either, as on
        a frozen connection, the channel is closed, and the command may still run over there.
        """
        words = with_deadline(argv, timeout_sec=timeout_sec, root=root, uid=self.uid)
        completed = process.run(
            self._through(words),
            timeout_sec=timeout_sec + DEADLINE_GRACE_SEC,
            input_text=input_text,
            check=False,
            host=self.name,
            shown_as=with_root(argv, root=root, uid=self.uid),
            may_run_elsewhere=True,
        )
        if completed.returncode == _SSH_FAILED:
            self._raise_if_lost(completed)
        raise_if_ended_by_deadline(completed, timeout_sec=timeout_sec)
        return checked(completed, check=check)

    def spawn(
        self,
        argv: Sequence[str],
        *,
        root: bool = False,
        shown_as: Sequence[str] | None = None,
    ) -> RemoteProcess:
        """Start ``argv`` there and go on; see :meth:`kvmlab.hosts.Runner.spawn`."""
        words = with_root(argv, root=root, uid=self.uid)
        shown = with_root(shown_as or argv, root=root, uid=self.uid)
        pipes = ProcessPipes(process.start(self._through(words), host=self.name))
        return RemoteProcess(pipes, shown, host=self.name, end_check=self._check_end)

    def _check_end(self, completed: Completed) -> None:
        """Raise what the end of a command stands for: a lost connection, sudo's refusal."""
        if completed.returncode == _SSH_FAILED:
            self._raise_if_lost(completed)
        refuse_without_root(completed)

    def _through(self, words: Sequence[str]) -> tuple[str, ...]:
        """Return the local command line that runs ``words`` over there."""
        if not self.is_open:
            raise HostUnreachable(
                f"The connection to {self.name} has ended.",
                todo="Open the host again.",
                evidence=self._logged(),
            )
        there = shlex.join(("env", "LC_ALL=C", f"PATH={TOOL_PATH}", *words))
        return (*self._client_argv(), self.target.address, there)

    def close(self) -> None:
        """End the connection and remove its files; may be called twice."""
        self._end()

    def _start(self) -> subprocess.Popen[bytes]:
        greeting = f"exec /bin/sh -c 'echo {_HELLO} $(id -u); exec cat'"
        options = (
            "ControlMaster=yes",
            f"ControlPath={_escaped(self._socket)}",
            "ControlPersist=no",
            "ConnectionAttempts=1",
            _KEX,
            *_PLAIN,
            *(() if os.environ.get(INSECURE_HOST_KEYS) else _CHECKED_KEYS),
            *_ALIVE,
            *_identity(self.target),
            *self.target.options,
        )
        argv = ["ssh", *_flags(options)]
        if self.target.known_hosts is not None:
            argv += ["-F", "none"]
        # The usual port is not asked for: the user's configuration may know another one.
        if self.target.port != _USUAL_PORT or self.target.known_hosts is not None:
            argv += ["-p", str(self.target.port)]
        if self.target.user is not None:
            argv += ["-l", self.target.user]
        with self._log.open("wb") as log:
            return subprocess.Popen(
                [*argv, "--", self.target.address, greeting],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "LC_ALL": "C"},
                # Ctrl-C on the terminal must not end the connection that undoing needs.
                process_group=0,
            )

    def _greet(self, deadline_sec: float) -> int:
        """Wait for the host's greeting; return the user id over there."""
        assert self._master.stdout is not None
        greeting = _read_line_with(self._master.stdout, _HELLO, deadline_sec=deadline_sec)
        if greeting is None:
            timed_out = self._master.poll() is None and not _ended_soon(self._master)
            raise ssh_error(
                self._logged(),
                host=self.name,
                target=self.target,
                waited_sec=deadline_sec if timed_out else None,
            )
        uid = greeting.split()[-1]
        return int(uid) if uid.isdecimal() else -1

    def _write_wrapper(self) -> Path:
        """Write the program that libvirt calls instead of ssh, which uses the same connection."""
        path = self._directory.path / "ssh"
        # A session of its own, so that Ctrl-C does not cut libvirt's connection either.
        path.write_text(f'#!/bin/sh\nexec setsid {shlex.join(self._client_argv())} "$@"\n')
        path.chmod(0o700)
        return path

    def _client_argv(self) -> tuple[str, ...]:
        options = (f"ControlPath={_escaped(self._socket)}", *_CLIENT)
        return ("ssh", "-F", "none", *_flags(options))

    def _raise_if_lost(self, completed: Completed) -> None:
        """Raise if exit code 255 is ssh's own (connection lost); a command may use it too."""
        lost = _ended_soon(self._master) or "shared connection is gone" in completed.stderr
        if lost or completed.stderr.startswith("mux_client"):
            raise HostUnreachable(
                f"The connection to {self.name} was lost while `{completed.command}` ran.",
                todo="Open the host again.",
                evidence=f"{self._logged()}{completed.stderr}",
            )

    def _logged(self) -> str:
        try:
            return self._log.read_text(errors="replace")
        except OSError:
            return ""


def _flags(options: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for option in options for word in ("-o", option))


def _escaped(path: Path) -> str:
    """Quote ``path`` for an ssh option, without expansion of ``%``."""
    return '"' + str(path).replace("%", "%%") + '"'


def _identity(target: SshTarget) -> tuple[str, ...]:
    options: list[str] = []
    if target.key_path is not None:
        options += [
            f"IdentityFile={_escaped(target.key_path)}",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "PreferredAuthentications=publickey",
        ]
    if target.known_hosts is not None:
        options += [
            f"UserKnownHostsFile={_escaped(target.known_hosts)}",
            "GlobalKnownHostsFile=none",
            "StrictHostKeyChecking=yes",
            "UpdateHostKeys=no",
        ]
    return tuple(options)


def _read_line_with(stream: IO[bytes], word: str, *, deadline_sec: float) -> str | None:
    """Return the first line with ``word``, or None; login scripts may print others before it."""
    deadline = time.monotonic() + deadline_sec
    lines = process.LineReader(process.read_from(stream))
    while (line := lines.next(timeout_sec=deadline - time.monotonic())) is not None:
        if word in line:
            return line
    return None


def _ended_soon(master: subprocess.Popen[bytes]) -> bool:
    """Return True if the master ends within 0.5 s: its clients notice a loss a little earlier."""
    try:
        master.wait(timeout=0.5)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(master: subprocess.Popen[bytes], directory: RuntimeDir) -> None:
    for stream in (master.stdin, master.stdout):
        if stream is not None:
            stream.close()
    # Closing its input would end it, but only once every client has gone.
    master.terminate()
    try:
        master.wait(timeout=2.0)
    except subprocess.TimeoutExpired:
        master.kill()
        master.wait()
    directory.close()
