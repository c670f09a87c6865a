"""A guest agent that answers nonsense: errors of kvmlab's own, whatever the VM says."""

from __future__ import annotations

import base64
import json
import random

import libvirt_qemu
import pytest

from kvmlab.domain import TestVM
from kvmlab.errors import KvmlabError
from kvmlab.hosts import Host, HostKind, LocalRunner
from tests.facts.mutations import mutated

QUICK, ALL = 300, 3000
OUTPUT = base64.b64encode(b"6.1.0\n").decode()
ANSWERS = (
    json.dumps({"return": {"pid": 812}}),
    json.dumps({"return": {"exited": True, "exitcode": 0, "out-data": OUTPUT, "err-data": ""}}),
)


@pytest.mark.parametrize("count", [QUICK, pytest.param(ALL, marks=pytest.mark.slow)])
def test_no_answer_of_an_agent_makes_a_traceback(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    answers: list[str] = []
    monkeypatch.setattr(libvirt_qemu, "qemuAgentCommand", lambda *words: answers.pop(0))
    host = Host(
        spec="recorded", kind=HostKind.RECORDED, label="a host", runner=LocalRunner(),
        libvirt_uri="test:///default",
    )  # fmt: skip
    understood = 0
    with host:
        agent = TestVM.find(host, "test").agent
        for seed in range(count):
            chance = random.Random(seed)
            answers[:] = ANSWERS
            place = chance.randrange(2)
            answers[place] = mutated(answers[place], chance)
            # Where the agent says that the command still runs, it is asked again.
            answers += [ANSWERS[1]] * 3
            try:
                agent.run(("uname", "-r"), timeout_sec=5, check=False)
            except KvmlabError:
                continue
            except Exception as error:
                raise AssertionError(f"seed {seed}: {error!r}") from error
            understood += 1
    assert count * 0.05 < understood < count
