"""Parsers on the output of real hosts and guests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kvmlab.domain import VmThreads
from kvmlab.domain.agent_protocol import ExecStatus, exec_request, read_status
from kvmlab.domain.threads import parse_threads
from kvmlab.errors import OutputError


def test_threads_with_a_vhost_worker(data: Path) -> None:
    threads = parse_threads((data / "domain" / "threads-vhost.txt").read_text())
    assert threads == VmThreads(271, (275, 276), (298,), (273, 274, 278))


def test_threads_without(data: Path) -> None:
    assert parse_threads((data / "domain" / "threads-idle.txt").read_text()).vhost == ()


def test_workers_of_older_kernels_are_processes() -> None:
    threads = parse_threads("process 7\ntask 7 qemu\ntask 9 CPU 0/KVM\nkernel 12 vhost-7\n")
    assert threads == VmThreads(7, (9,), (12,), (), (12,))
    assert str(threads) == (
        "QEMU process 7: vCPU 9; vhost worker 12 (kernel thread); no other thread"
    )


def test_threads_are_shown_in_words(data: Path) -> None:
    threads = parse_threads((data / "domain" / "threads-vhost.txt").read_text())
    assert str(threads) == (
        "QEMU process 271: vCPUs 275, 276; vhost worker 298 (thread of QEMU); "
        "other threads 273, 274, 278"
    )


def test_vcpus_come_in_their_own_order() -> None:
    text = "process 7\ntask 9 CPU 10/KVM\ntask 10 CPU 2/KVM\n"
    assert parse_threads(text).vcpus == (10, 9)


@pytest.mark.parametrize("text", ["", "task 7 qemu\n", "process x\n", "process 7\nTASK 8 a\n"])
def test_malformed_list_of_threads(text: str) -> None:
    with pytest.raises(OutputError):
        parse_threads(text)


def test_answers_of_the_agent(data: Path) -> None:
    recorded = json.loads((data / "domain" / "guest-exec-status.json").read_text())
    assert [read_status(entry["return"]) for entry in recorded] == [
        ExecStatus(3, "out\n", "err\n"),
        ExecStatus(128 + 9, "", ""),
        ExecStatus(0, "", ""),
        None,
    ]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"exited": True},
        {"exited": True, "exitcode": "many"},
        {"exited": True, "exitcode": 0, "out-data": "%%%"},
        {"exited": True, "exitcode": 0, "out-data": "b3V0Cg==", "out-truncated": True},
    ],
)
def test_malformed_answers(answer: dict[str, object]) -> None:
    with pytest.raises(OutputError):
        read_status(answer)


def test_a_request_has_an_argv_and_no_shell() -> None:
    request = exec_request(("sh", "-s", "--", "a b; c"), "echo hi\n")
    assert request["arguments"]["path"] == "sh"
    assert request["arguments"]["arg"] == ["-s", "--", "a b; c"]
    assert request["arguments"]["input-data"] == "ZWNobyBoaQo="
