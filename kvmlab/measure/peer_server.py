"""The server of one trial at the peer: started, seen listening, ended."""

from __future__ import annotations

from ipaddress import ip_address
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from kvmlab.errors import HostUnreachable, MeasureError
from kvmlab.hosts import spawn_script

if TYPE_CHECKING:
    from kvmlab.hosts import Cable, Host, RemoteProcess, Runner
    from kvmlab.measure.meters import Meters
    from kvmlab.measure.workloads import Workload

_ANSWER_SEC: Final = 60.0
_END_SEC: Final = 10.0
_LOG_CHARS: Final = 4000
# The words of a server that cannot listen at its address.
_NO_ADDRESS: Final = "Cannot assign requested address"


class PeerServer:
    """The server of one trial at the other end of ``cable``; a context manager that ends it.

    Where that end is a namespace of the host, the meters start it there; where it is a machine that
    ssh reaches, it is started on that machine; elsewhere it has to run already. A server ends with
    its block, with this process and with the connection; a connection that freezes leaves it to the
    time limit in its own command.
    """

    def __init__(self, host: Host, cable: Cable, work: Workload, meters: Meters) -> None:
        self._host = host
        self._cable = cable
        self._work = work
        self._meters = meters
        self._process: RemoteProcess | None = None
        #: The end of what the server printed, once it has ended.
        self.log = ""

    def __enter__(self) -> Self:
        """Start the server and see it listen.

        Raises:
            MeasureError: the tool is missing there, its port is taken, it does not listen.
            HostUnreachable, HostRefused: the machine does not answer, or does not let us in.
        """
        work = self._work
        if work.listens == "none":
            return self
        if self._cable.peer_netns is not None:
            self._meters.serve(work.server, work.listens, work.port)
        elif (runner := self._host.peer(self._cable)) is not None:
            self._serve_on(runner)
        return self

    def _serve_on(self, runner: Runner) -> None:
        work, ip = self._work, self._cable.peer_address.partition("/")[0]
        words = (work.listens, place(ip, work.port), work.tool, *work.server)
        # No root: the ports of these servers are above 1023.
        self._process = spawn_script(runner, "kvmlab.measure", "serve.sh", *words)
        greeting = self._process.next_line(timeout_sec=_ANSWER_SEC)
        if greeting != "ready":
            self._end()
            raise _not_ready(greeting, work, runner, ip, self.log)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        if self._process is not None:
            self.log = self._process.stop(grace_sec=_END_SEC).stderr[-_LOG_CHARS:]
            self._process = None
        elif self._work.listens != "none" and self._cable.peer_netns is not None:
            self.log = self._meters.stop_server()


def place(ip: str, port: int) -> str:
    """Return an address and a port as /proc/net/tcp has them on a little-endian machine.

    >>> place("192.0.2.1", 5201)
    '010200C0:1451'
    """
    packed = ip_address(ip).packed
    words = (packed[at : at + 4][::-1].hex().upper() for at in range(0, len(packed), 4))
    return f"{''.join(words)}:{port:04X}"


def _not_ready(
    greeting: str | None, work: Workload, runner: Runner, ip: str, log: str
) -> MeasureError | HostUnreachable:
    word, _, rest = (greeting or "").partition(" ")
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
