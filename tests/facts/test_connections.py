"""TCP connections of a host, as the kernel writes them."""

from __future__ import annotations

import socket

import pytest

from kvmlab.errors import OutputError
from kvmlab.facts.connections import Connections, parse_connections
from kvmlab.hosts import LocalRunner, parse_output, run_script


def test_addresses_of_both_families() -> None:
    text = (
        "0F02000A 2 0016 0202000A:A3F2\n"
        "0000000000000000FFFF00000F02000A 1 0016 0000000000000000FFFF00000202000A:B1C2\n"
        "B80D0120000000000000000001000000 1 0801 B80D0120000000000000000002000000:03E8\n"
        "0100007F 9 0016 0100007F:0017\n"
        "00000000000000000000000001000000 1 0016 00000000000000000000000001000000:0017\n"
    )
    assert parse_connections(text) == (
        Connections("10.0.2.15", 2, "22 from 10.0.2.2:41970"),
        Connections("10.0.2.15", 1, "22 from 10.0.2.2:45506"),
        Connections("2001:db8::1", 1, "2049 from 2001:db8::2:1000"),
    )


def test_those_of_this_machine_are_read() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()),
        server.accept()[0],
    ):
        answer = run_script(LocalRunner(), "kvmlab.facts", "read_host.sh", "x", timeout_sec=30)
    text = parse_output(answer.stdout).text("connections")
    assert "0100007F" in text
    parse_connections(text)


@pytest.mark.parametrize("text", ["x", "0F02000A 2 0016", "0F02 1 1 0F02000A:1", "G 1 1 1:1"])
def test_another_shape_is_said(text: str) -> None:
    with pytest.raises(OutputError):
        parse_connections(text)
