"""`kvmlab migrate` on the embedded host: plan, migration, figures, and what is refused."""

from __future__ import annotations

import json

import pytest

from kvmlab.cli import answer

pytestmark = [pytest.mark.host, pytest.mark.timeout(900)]

Out = pytest.CaptureFixture[str]


def test_a_plan_shows_checks_and_commands(capsys: Out) -> None:
    assert answer(["plan", "migrate"]) == 0
    text = capsys.readouterr().out
    assert "two hosts" in text
    assert "do:   virsh migrate --live kvmlab-vm" in text
    assert answer(["migrate", "--dry-run", "--json", "--nic", "vf-teaming"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert {check["name"] for check in plan["checks"]} >= {"CPU", "free VF in kvmlab-vfs"}
    assert all(check["passed"] for check in plan["checks"])


def test_a_migration_shows_its_figures(capsys: Out) -> None:
    assert answer(["migrate", "-k", "bandwidth_mib=64"]) == 0
    captured = capsys.readouterr()
    assert "at most 64 MiB/s" in captured.out
    assert "hole as the peer sees it" in captured.out
    assert "The VM is back, and everything is as it was." in captured.out
    assert "round 1:" in captured.err


def test_one_that_takes_too_long_ends_with_1(capsys: Out) -> None:
    assert answer(["migrate", "-k", "bandwidth_mib=1", "-k", "timeout_sec=5"]) == 1
    error = capsys.readouterr().err
    assert "did not migrate to embedded host B within 5 s and was cancelled" in error
    assert "The VM runs where it was" in error
