"""Notebook 07: what it shows of five migrations, on the embedded host."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from kvmlab import measured_migrations
from kvmlab.results.migration import MigrationResult, load_migration
from kvmlab.runbook import Outcome, run
from tests.notebooks.executed import table, text

pytestmark = [pytest.mark.host, pytest.mark.minutes(4), pytest.mark.timeout(1200)]

NAME = "07-live-migration"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Run the notebook once for all the tests of this module."""
    out = tmp_path_factory.mktemp("run") / "out"
    return run(["07"], out=out, console=Console(file=io.StringIO()))


def migrations(run: Outcome) -> list[MigrationResult]:
    """Return the stored migrations in order."""
    files = (run.folder / "results" / NAME).glob("*/migration.json")
    return [load_migration(path.parent) for path in sorted(files)]


def test_five_migrations_are_kept(done: Outcome) -> None:
    schemes = [one.scheme for one in migrations(done)]
    assert schemes == [*["virtio-vhost"] * 2, "vf-teaming", "vf-teaming", "macvtap-on-vf"]


def test_a_vm_that_writes_is_copied_in_more_rounds(done: Outcome) -> None:
    virtio, writing, *_ = migrations(done)
    assert writing.load == "48 MiB/s of 32 MiB"
    assert writing.written_mib_per_sec > 10
    assert writing.rounds > virtio.rounds
    assert writing.transferred_bytes > virtio.transferred_bytes
    shown = table(done, NAME, "table-writing").to_string()
    assert f"in {writing.rounds} rounds" in shown


def test_notebook_06_would_show_them(done: Outcome) -> None:
    shown = measured_migrations(done.folder / "results" / NAME)
    virtio, _, plain, closed, macvtap = migrations(done)
    assert [one.hole_ms for one in shown] == [
        round(one.hole_ms, 1) for one in (virtio, plain, closed, macvtap)
    ]
    assert all(one.source.startswith("stored with these results") for one in shown)


def test_a_plain_vm_is_away_for_little_longer_than_its_downtime(done: Outcome) -> None:
    virtio, _, _, _, macvtap = migrations(done)
    for one in (virtio, macvtap):
        assert one.hole_ms < one.downtime_ms + 200
        assert (one.duplicates, one.reordered) == (0, 0)


def test_the_hole_of_a_team_is_closed(done: Outcome) -> None:
    _, _, plain, closed, _ = migrations(done)
    assert (plain.traffic, closed.traffic) == ("receives", "receives")
    assert plain.hole_ms > plain.downtime_ms + 200
    assert closed.hole_ms < min(1000, closed.downtime_ms + 200)
    shown = table(done, NAME, "table-team")
    assert f"{closed.hole_ms:.0f} ms" in shown.to_string()


def test_libvirt_refuses_a_vf_as_it_is(done: Outcome) -> None:
    assert "belongs to this host's hardware" in table(done, NAME, "refused-check").to_string()
    assert text(done, NAME, "refused-by-libvirt").strip()
