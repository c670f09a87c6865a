"""Figures of the answers to the migration question: stored on this machine, or shipped."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kvmlab import measured_migrations
from kvmlab.clock import Clock
from kvmlab.errors import OutputError, UsageError
from kvmlab.language import reading
from kvmlab.report import tables
from kvmlab.results.migration import Packet, save_migration
from kvmlab.results.migration_figures import MigrationEvidence, MigrationFigures, evidence_of
from kvmlab.results.runs import RECORD
from tests.report.builders import MIGRATION

RESULT = replace(
    MIGRATION,
    scheme="vf-teaming",
    label="SR-IOV VF in a team with virtio",
    traffic="receives",
    downtime_ms=600,
    sent=4,
    packets=(Packet(1, 1.0), Packet(2, 1.02), Packet(4, 1.7)),
)
ANSWERS = (
    ("virtio-vhost", "answers", ""),
    ("vf-teaming", "receives", ""),
    ("vf-teaming", "receives", "no learning at the uplink"),
    ("macvtap-on-vf", "answers", ""),
)


def test_four_answers_ship_with_kvmlab(tmp_path: Path) -> None:
    figures = measured_migrations(tmp_path)
    assert tuple((one.scheme, one.traffic, one.remedy) for one in figures) == ANSWERS
    for one in figures:
        assert one.source.startswith("shipped with kvmlab (embedded host, 20")
        assert one.downtime_ms > 0
        assert one.hole_ms > 0
        assert one.count > 1, "medians"
    _, plain, closed, _ = figures
    # What the notebook says of them.
    assert plain.hole_ms > plain.downtime_ms + 200
    assert closed.hole_ms < closed.downtime_ms + 200


def test_the_newest_of_this_machine_takes_the_place_of_the_shipped(tmp_path: Path) -> None:
    save_migration(RESULT, tmp_path)
    save_migration(replace(RESULT, downtime_ms=500), tmp_path)
    # None of these says what an answer is like.
    save_migration(replace(RESULT, downtime_ms=1, options="post-copy"), tmp_path)
    save_migration(replace(RESULT, downtime_ms=2, load="48 MiB/s of 32 MiB"), tmp_path)
    save_migration(replace(RESULT, downtime_ms=3, note="arrived without its VF"), tmp_path)
    save_migration(replace(RESULT, downtime_ms=4, clock=Clock.WALL), tmp_path)
    save_migration(replace(RESULT, downtime_ms=5, remedy="arp_notify in the guest"), tmp_path)
    first, plain, closed, last = measured_migrations(tmp_path)
    assert (plain.downtime_ms, plain.lost, plain.count) == (500, 1, 1)
    assert plain.hole_ms == 680
    assert plain.source.startswith("stored with these results: 20")
    assert {one.source[:7] for one in (first, closed, last)} == {"shipped"}
    shown = tables.migration_answers(first, plain, closed, last).to_string()
    assert "500 ms" in shown
    assert "680 ms" in shown


def test_the_table_has_chinese_headings(tmp_path: Path) -> None:
    with reading("zh-CN"):
        table: Any = tables.migration_answers(*measured_migrations(tmp_path))
        headings = re.findall(r"<th[^>]*>([^<]*)</th>", table._repr_html_())
    assert len(headings) > 8
    assert not [text for text in headings[:8] if text.isascii()]


def test_a_run_of_notebooks_finds_those_of_its_other_notebooks(tmp_path: Path) -> None:
    save_migration(RESULT, tmp_path / "results" / "07-live-migration")
    out = tmp_path / "results" / "06-conclusion"
    out.mkdir()
    assert measured_migrations(out)[1].source.startswith("shipped")
    (tmp_path / RECORD).write_text("{}")
    assert measured_migrations(out)[1].downtime_ms == 600


def test_a_damaged_migration_is_left_out(tmp_path: Path) -> None:
    folder = save_migration(RESULT, tmp_path)
    (folder / "migration.json").write_text("{")
    assert measured_migrations(tmp_path)[1].source.startswith("shipped")


def test_medians_are_of_one_kind(tmp_path: Path) -> None:
    others = [replace(RESULT, downtime_ms=ms) for ms in (500, 590)]
    figures = MigrationFigures.of(RESULT, *others)
    assert (figures.downtime_ms, figures.count) == (590, 3)
    with pytest.raises(UsageError, match="one kind"):
        MigrationFigures.of(RESULT, replace(RESULT, remedy="ageing of 10 s"))
    evidence = evidence_of((RESULT, *others), measured_on="2026-11-29", versions={"QEMU": "10.0"})
    evidence.save(tmp_path / "migrations.json")
    (loaded,) = MigrationEvidence.load(tmp_path / "migrations.json").figures
    assert loaded == replace(figures, source="shipped with kvmlab (A, 2026-11-29)")
    with pytest.raises(UsageError, match="No migration"):
        evidence_of((), measured_on="", versions={})


def test_a_file_that_is_no_evidence_is_told(tmp_path: Path) -> None:
    path = tmp_path / "migrations.json"
    with pytest.raises(UsageError, match="cannot be read"):
        MigrationEvidence.load(path)
    for text in ("{", "[]", json.dumps({"format": 99}), json.dumps({"format": 1, "evidence": 3})):
        path.write_text(text)
        with pytest.raises(OutputError, match="migrations"):
            MigrationEvidence.load(path)
