"""The server of one trial on a peer that is another machine: started there, seen, ended."""

from __future__ import annotations

import subprocess
from importlib.resources import files
from ipaddress import ip_address
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from kvmlab.errors import HostUnreachable, MeasureError
from kvmlab.process import Lines

if TYPE_CHECKING:
    from kvmlab.hosts import Host, Runner, Wire
    from kvmlab.measure.workloads import Workload

_ANSWER_SEC: Final = 60.0
_END_SEC: Final = 10.0
_LOG_CHARS: Final = 4000
# What a server says when it cannot listen at its address.
_NO_ADDRESS: Final = "Cannot assign requested address"


class PeerServer:
    """The server of one trial on the machine at the other end of ``wire``; a context manager.

    Where ssh does not reach that machine, or the other end is a namespace of the host, or the
    workload has no server, nothing is started. A server ends with its block, with this process and
    with the connection; a connection that freezes leaves it to the time limit in its own command.
    """

    def __init__(self, host: Host, wire: Wire, work: Workload) -> None:
        self._host = host
        self._wire = wire
        self._work = work
        self._process: subprocess.Popen[bytes] | None = None
        #: The end of what the server printed, once it has ended.
        self.log = ""

    def __enter__(self) -> Self:
        """Start the server and see it listen.

        Raises:
            MeasureError: the tool is missing there, its port is taken, it does not listen.
            HostUnreachable, HostRefused: the machine does not answer, or does not let us in.
        """
        work = self._work
        runner = self._host.peer(self._wire) if work.listens != "none" else None
        if runner is None:
            return self
        script = files("kvmlab.measure").joinpath("scripts", "serve.sh")
        ip = self._wire.peer_address.partition("/")[0]
        words = (work.listens, place(ip, work.port), work.tool, *work.server)
        argv = ("sh", "-c", script.read_text(encoding="utf-8"), "kvmlab-serve", *words)
        # No root: the ports of these servers are above 1023.
        self._process = runner.start(argv)
        assert self._process.stdout is not None
        said = None
        try:
            said = Lines(self._process.stdout).next(timeout_sec=_ANSWER_SEC)
        finally:
            if said != "ready":
                self._end()
        if said != "ready":
            raise _not_ready(said, work, runner, ip, self.log)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            log = process.communicate(timeout=_END_SEC)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            log = process.communicate()[1]
        self.log = log.decode(errors="replace")[-_LOG_CHARS:]


def place(ip: str, port: int) -> str:
    """An address and a port as /proc/net/tcp has them on a little-endian machine.

    >>> place("192.0.2.1", 5201)
    '010200C0:1451'
    """
    packed = ip_address(ip).packed
    words = (packed[at : at + 4][::-1].hex().upper() for at in range(0, len(packed), 4))
    return f"{''.join(words)}:{port:04X}"


def _not_ready(
    said: str | None, work: Workload, runner: Runner, ip: str, log: str
) -> MeasureError | HostUnreachable:
    word, _, rest = (said or "").partition(" ")
    where = f"{ip} port {work.port}/{work.listens}"
    if word == "missing":
        return MeasureError(
            f"`{rest}` is not installed on {runner.name}, so that the workload `{work.name}` has "
            "no server.",
            todo=f"Install it there (Debian: apt install {rest}), or leave the workload out.",
        )
    if word == "taken":
        return MeasureError(
            f"Something listens at {where} of {runner.name} already.",
            todo="End it there. A server of a lab that was cut off ends by itself, "
            f"{work.server[1]} s after it was started.",
            evidence=rest,
        )
    if not word:
        return HostUnreachable(
            f"{runner.name} did not say whether the server of `{work.name}` runs.",
            todo="Is the machine up, and its ssh?",
            evidence=log,
        )
    todo = f"Try `{' '.join(work.server[2:])}` there by hand."
    if _NO_ADDRESS in log:
        todo = f"That machine has no address {ip}: give the cable the address that it has there."
    return MeasureError(
        f"The server of the workload `{work.name}` does not listen at {where} of {runner.name}.",
        todo=todo,
        evidence=log,
    )
