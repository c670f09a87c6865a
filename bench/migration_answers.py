"""Answers to the migration question that can be run here: the figures that ship with kvmlab.

    python -m bench migration_answers [--count N] [--write]

Each migrates ``--count`` times on one embedded host, in turn. ``--write`` puts the medians into
``kvmlab/results/migrations.json``, which notebook 06 and the adviser show where a machine has no
migrations of its own.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench._harness import ROOT, Bench
from kvmlab import open_lab
from kvmlab.lab.atlas_survey import versions_of
from kvmlab.results.migration import MigrationResult, Traffic
from kvmlab.results.migration_figures import evidence_of

SHIPPED: Final = ROOT / "kvmlab" / "results" / "migrations.json"
#: Kind of NIC, what the VM does, and the remedy: those of notebook 07.
ANSWERS: Final[tuple[tuple[str, Traffic, str], ...]] = (
    ("virtio-vhost", "answers", ""),
    ("vf-teaming", "receives", ""),
    ("vf-teaming", "receives", "no-learning"),
    ("macvtap-on-vf", "answers", ""),
)


def main(argv: Sequence[str] | None = None) -> None:
    """Migrate with each of the answers, ``--count`` times."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="the medians become those shipped")
    chosen, _ = parser.parse_known_args(argv)
    bench = Bench("migration_answers", "live migrations by each answer to the migration question")
    results: list[MigrationResult] = []
    with tempfile.TemporaryDirectory() as out, open_lab("embedded", out=Path(out)) as lab:
        versions = versions_of(lab.inspect())
        with lab.second_host(with_vfs=True) as there:
            for _ in range(chosen.count):
                for kind, traffic, remedy in ANSWERS:
                    with lab.plan_migratable(kind).applied(lab.vm) as nic:
                        plan = lab.plan_migration(there)
                        one = lab.migrate(plan, nic, traffic=traffic, remedy=remedy)
                    results.append(one)
                    name = f"{kind}, {traffic}{f', {remedy}' if remedy else ''}"
                    bench.add(f"{name}: downtime", one.downtime_ms, "ms")
                    bench.add(f"{name}: hole", one.hole_ms, "ms")
                    bench.add(f"{name}: lost", one.lost, "packets")
    if chosen.write:
        today = datetime.now(UTC).date().isoformat()
        evidence_of(results, measured_on=today, versions=versions).save(SHIPPED)
    bench.finish()
