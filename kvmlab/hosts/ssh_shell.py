"""A shell kept open on a host, which runs one command after the other.

A session of ssh for each command costs the host a daemon, a login shell and ``env`` before anything
is done: 42 ms on an emulated host, where a shell that is there already answers in 1.5 ms. What
travels is the same: words, quoted, and the text that the command reads.
"""

from __future__ import annotations

import os
import re
import secrets
import selectors
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from kvmlab.errors import CommandTimeout, HostError
from kvmlab.process import Completed

#: What a pipe takes without somebody who reads it: writing must not wait for the host.
_MOST_BYTES: Final = 48_000
_CHUNK_BYTES: Final = 65_536
_LOST: Final = 255


class SshShell:
    """Runs commands by one shell over there; it is started with the first one, and when it is gone.

    ``start`` starts a shell on the host that reads from its standard input.
    """

    def __init__(self, start: Callable[[], subprocess.Popen[bytes]], name: str) -> None:
        self._start = start
        self._name = name
        self._process: subprocess.Popen[bytes] | None = None
        self._busy = threading.Lock()

    def run(
        self, words: Sequence[str], *, timeout_sec: float, input_text: str | None
    ) -> Completed | None:
        """Run ``words`` there; None, and nothing was done, where this is not for a shell.

        That is: it runs something else just now, cannot be had, or the text is long or not plain.
        Where the shell goes away before the command has ended, the exit code is ssh's own, 255.

        Raises:
            CommandTimeout: the deadline passed; the connection to the shell is closed.
        """
        mark = f"kvmlab-{secrets.token_hex(8)}"
        said = _request(words, input_text, mark)
        if said is None or not self._busy.acquire(blocking=False):
            return None
        try:
            process = self._living()
            if process is None:
                return None
            return self._asked(process, said, mark, tuple(words), timeout_sec)
        finally:
            self._busy.release()

    def close(self) -> None:
        """End the shell; may be called twice."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _living(self) -> subprocess.Popen[bytes] | None:
        if self._process is None or self._process.poll() is not None:
            self.close()
            with suppress(HostError):
                self._process = self._start()
        return self._process

    def _asked(
        self,
        process: subprocess.Popen[bytes],
        said: bytes,
        mark: str,
        words: tuple[str, ...],
        timeout_sec: float,
    ) -> Completed:
        started = time.monotonic()
        try:
            code, out, err = _answer(process, said, mark, started + timeout_sec)
        except BaseException:
            # What it would still say belongs to nobody.
            self.close()
            raise
        if code is None:
            command = shlex.join(words)
            self.close()
            raise CommandTimeout(
                f"`{command}` on {self._name} did not end within {timeout_sec:g} s and was left.",
                evidence=(err or out)[-4000:],
            )
        elapsed_sec = time.monotonic() - started
        return Completed(words, code, out, err, self._name, elapsed_sec)


def _request(words: Sequence[str], input_text: str | None, mark: str) -> bytes | None:
    r"""What the shell is told: nothing of it is done before it has arrived as a whole.

    >>> print(_request(["cat"], "one\n", "END").decode(), end="")
    { (exec cat) <<'END'
    one
    END
    code=$?; printf '\nEND %d\n' $code; printf '\nEND\n' >&2; }
    """
    text = input_text or ""
    # What follows a here-document's last line is a newline, always.
    plain = not text or text.endswith("\n")
    command = shlex.join(words)
    if not plain or not (command + text).isascii() or "\0" in command + text:
        return None
    source = f"<<'{mark}'\n{text}{mark}\n" if text else "</dev/null\n"
    ending = f"code=$?; printf '\\n{mark} %d\\n' $code; printf '\\n{mark}\\n' >&2; }}\n"
    told = f"{{ (exec {command}) {source}{ending}".encode()
    return told if len(told) <= _MOST_BYTES else None


def _answer(
    process: subprocess.Popen[bytes], said: bytes, mark: str, deadline: float
) -> tuple[int | None, str, str]:
    """Exit code and both outputs; no code where the deadline passed."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    ends = re.compile(rb"\n%b(?: (\d+))?\n\Z" % mark.encode())
    heard = {process.stdout: b"", process.stderr: b""}
    code: int | None = _LOST
    with selectors.DefaultSelector() as selector:
        for pipe in heard:
            selector.register(pipe, selectors.EVENT_READ, bytearray())
        with suppress(BrokenPipeError):
            process.stdin.write(said)
            process.stdin.flush()
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                code = None
                break
            for key, _ in ready:
                chunk = os.read(key.fd, _CHUNK_BYTES)
                key.data.extend(chunk)
                end = ends.search(key.data, max(0, len(key.data) - len(mark) - 8))
                if chunk and end is None:
                    continue
                selector.unregister(key.fileobj)
                if end is not None:
                    code = int(end[1]) if end[1] else code
                    del key.data[end.start() :]
                heard[key.fileobj] = bytes(key.data)  # type: ignore[index]
        for key in selector.get_map().values():
            heard[key.fileobj] = bytes(key.data)  # type: ignore[index]
    out, err = (heard[pipe].decode(errors="replace") for pipe in (process.stdout, process.stderr))
    return code, out, err
