"""The supervisor's side of a connection: the client at the other end, and the leaseholder."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any

from kvmlab.embedded import messages


@dataclass(frozen=True)
class Leaseholder:
    """The client that leases the host."""

    pid: int
    command: str
    since: float

    def sentence(self, asking_pid: int = 0) -> str:
        """Return process, command and time of the lease, for messages."""
        since = time.strftime("%H:%M:%S", time.localtime(self.since))
        who = "this very process" if self.pid == asking_pid else f"process {self.pid}"
        return f"{who} (`{self.command}`) since {since}"


class Client:
    """A client's connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.pid = _peer_pid(writer)
        self.disconnected = asyncio.Event()

    def send(self, message: dict[str, Any]) -> None:
        """Send one message; `disconnected` tells about a client that has ended."""
        with contextlib.suppress(ConnectionError):
            self.writer.write(messages.encode(message))

    def say(self, text: str) -> None:
        """Send one line of progress."""
        self.send({"say": text})


def _peer_pid(writer: asyncio.StreamWriter) -> int:
    connection: socket.socket = writer.get_extra_info("socket")
    size = struct.calcsize("3i")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    pid: int = struct.unpack("3i", credentials)[0]
    return pid
