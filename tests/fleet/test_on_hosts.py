"""A rollout over strangers' hosts with two workers, of which one is killed at work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kvmlab.cli import answer
from kvmlab.fleet import load_record
from tests.fleet.strangers import dask_workers, kill_at_work, kvmlab, strangers

pytestmark = [pytest.mark.host, pytest.mark.timeout(900)]


def test_a_fleet_survives_the_death_of_a_worker(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with strangers(tmp_path, 2) as fleet, dask_workers(2) as workers:
        before = fleet.state("kvm2")
        words = ["fleet", "measure", "virtio-vhost", "-i", str(fleet.inventory), "--yes"]
        words += ["-w", "latency", "--trials", "2", "--canary", "0"]
        words += ["--scheduler", workers.address]
        with kvmlab(*words, "--out", str(tmp_path / "fleet")) as rollout:
            kill_at_work(fleet, workers, "kvm2", with_job=True)
            printed = rollout.communicate()[0]
        assert rollout.returncode == 4, printed
        record = load_record(tmp_path / "fleet")
        assert {name: str(each.status) for name, each in record.outcomes.items()} == {
            "kvm1": "ok",
            "kvm2": "worker died",
        }
        assert "left to its journal and its rollback timer" in printed
        assert "Asked at the end of the rollout" in printed
        assert "kvm1" in (tmp_path / "fleet" / "fleet.html").read_text()

        monkeypatch.chdir(tmp_path)  # a rollout without --out leaves its record beneath
        # What the host has not undone by itself yet is undone on request, and only then repeated.
        assert answer(["fleet", "restore", "-i", str(fleet.inventory), "--jobs", "2"]) == 0
        assert fleet.state("kvm2") == before
        capsys.readouterr()
        resumed = [*words, "--resume", str(tmp_path / "fleet"), "--json"]
        assert answer(resumed) == 0
        hosts = json.loads(capsys.readouterr().out)["hosts"]
        assert [host["status"] for host in hosts.values()] == ["ok", "ok"]
        assert len(list((tmp_path / "fleet").glob("hosts/kvm*/**/results.json"))) == 2
