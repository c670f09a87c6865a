"""Tunings on a stranger's host behind ssh: measured with a yes, within a budget, put back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvmlab.cli import answer
from kvmlab.results.atlas import Atlas
from tests.faults.host_state import read_state
from tests.faults.scene import Scene
from tests.faults.stranger import CABLE, SPEC

pytestmark = [pytest.mark.host, pytest.mark.timeout(600)]

Out = pytest.CaptureFixture[str]
WHERE = ("--host", SPEC, "--cable", CABLE)
SHORT = ("-w", "tcp_up", "--trials", "1")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Scene]:
    """One stranger's host for all tests of this file; each leaves it as it was."""
    with Scene.opened(tmp_path_factory.mktemp("stranger"), repository) as scene:
        yield scene


def test_a_tuning_is_measured_beside_its_scheme(scene: Scene, tmp_path: Path, capsys: Out) -> None:
    words = ["measure", "-k", "rx-ring=256", *WHERE, *SHORT, "--out", str(tmp_path), "--json"]
    assert answer(words) == 1
    assert "--yes" in capsys.readouterr().err
    assert answer([*words, "--yes"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [each["scheme"] for each in document["schemes"]] == [
        "virtio-vhost",
        "virtio-vhost+rx-ring=256",
    ]
    assert document["clock"] == "wall"
    assert document["comparisons"][0]["metric"] == "tcp_up_mbps"
    assert read_state(scene.host, scene.vm) == scene.before


def test_the_safe_part_of_the_atlas_is_laid_beside_the_shipped_one(
    scene: Scene, tmp_path: Path, capsys: Out
) -> None:
    words = ["atlas", *WHERE, *SHORT, "--baselines", "1", "--folder", str(tmp_path / "atlas")]
    assert answer([*words, "guest-tso=off"]) == 1
    assert "--yes" in capsys.readouterr().err
    # What needs another VM, or the whole host, is refused there; the budget is for the others.
    names = ("guest-tso=off", "viommu=strict", "br-netfilter=on", "halt-poll-host=50000")
    assert answer([*words, *names, "--yes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(
        line.startswith("viommu=strict: refused. The VM has to be started") for line in lines
    )
    assert any(line.startswith("halt-poll-host=50000: refused. It is one") for line in lines)
    beside = lines[next(n for n, line in enumerate(lines) if "throughput, embedded host" in line) :]
    mine, shipped = next(line for line in beside if line.startswith("guest-tso=off")).split()[1:3]
    assert float(mine.strip("()")) < 0.8
    assert float(shipped) < 0.8
    measured = Atlas.load(tmp_path / "atlas" / "atlas.json")
    assert measured.emulated is None
    assert read_state(scene.host, scene.vm) == scene.before


def test_nothing_begins_once_the_budget_is_spent(scene: Scene, tmp_path: Path, capsys: Out) -> None:
    words = ["atlas", *WHERE, *SHORT, "--baselines", "1", "--folder", str(tmp_path / "atlas")]
    assert answer([*words, "--budget", "0", "--yes"]) == 0
    rows = Atlas.load(tmp_path / "atlas" / "atlas.json").rows
    spent = [row.tuning for row in rows if row.refused.startswith("The budget was spent")]
    assert "rx-ring=64" in spent
    # Only what touches the VM's own interface, the strongest of the atlas first.
    assert not {"port-tso=off", "mtu=9000", "viommu=strict"} & {row.tuning for row in rows}
    assert rows[0].tuning in ("guest-tx-checksum=off", "offloads=off", "guest-tso=off")
    assert "refused" in capsys.readouterr().out
    assert read_state(scene.host, scene.vm) == scene.before
