"""Figures of the answers to the migration question: those stored here, else the shipped ones."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

from kvmlab.clock import Clock
from kvmlab.errors import UsageError
from kvmlab.results.documents import load_document, save_document
from kvmlab.results.migration import MIGRATION_FILE, MigrationResult, Traffic, load_migration
from kvmlab.results.runs import RECORD
from kvmlab.stored_files import folders_with, is_present

FORMAT: Final = 1


@dataclass(frozen=True)
class MigrationFigures:
    """Figures of one migration, or medians of ``count``; ``source`` says where they come from."""

    scheme: str
    label: str
    traffic: Traffic
    remedy: str
    downtime_ms: int
    hole_ms: float
    sent: int
    lost: int
    count: int = 1
    source: str = ""

    @classmethod
    def of(cls, *results: MigrationResult, source: str = "") -> MigrationFigures:
        """Return the medians of migrations of one kind.

        Raises:
            UsageError: there is none, or they are not of one kind.
        """
        if len({_kind(result) for result in results}) != 1:
            raise UsageError("Medians are of migrations of one kind.")
        first = results[0]
        return cls(
            scheme=first.scheme,
            label=first.label,
            traffic=first.traffic,
            remedy=first.remedy,
            downtime_ms=round(statistics.median(result.downtime_ms for result in results)),
            hole_ms=round(statistics.median(result.hole_ms for result in results), 1),
            sent=round(statistics.median(result.sent for result in results)),
            lost=round(statistics.median(result.lost for result in results)),
            count=len(results),
            source=source,
        )


@dataclass(frozen=True)
class MigrationEvidence:
    """Migrations of one host, with the versions that they hold for."""

    host: str
    clock: Clock
    measured_on: str
    versions: Mapping[str, str] = field(default_factory=dict)
    figures: tuple[MigrationFigures, ...] = ()

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        save_document(path, "evidence", self, version=FORMAT)

    @classmethod
    def load(cls, path: Path) -> MigrationEvidence:
        """Read what `save` wrote; each of its figures then says where it comes from.

        Raises:
            UsageError: there is no such file.
            OutputError: it is no evidence of this format.
        """
        evidence = load_document(path, "evidence", cls, version=FORMAT)
        source = f"shipped with kvmlab ({evidence.host}, {evidence.measured_on})"
        figures = tuple(replace(one, source=source) for one in evidence.figures)
        return replace(evidence, figures=figures)

    @classmethod
    def shipped(cls) -> MigrationEvidence:
        """Return what ships with kvmlab (`python -m bench migration_answers --write`)."""
        with as_file(files("kvmlab.results").joinpath("migrations.json")) as path:
            return cls.load(path)


def measured_migrations(out: str | Path) -> tuple[MigrationFigures, ...]:
    """Return the figures of each answer: the newest stored below ``out``, else the shipped ones.

    Where ``out`` is the folder of a notebook in a run, the run's other notebooks count as well.
    Migrations with options of their own, of a VM that wrote memory or that lost its VF, or under
    another clock than the shipped ones, are left out.
    """
    shipped = MigrationEvidence.shipped()
    stored = {_kind(one): one for one in _stored(Path(out), shipped.clock)}
    return tuple(stored.get(_kind(one), one) for one in shipped.figures)


def _kind(one: MigrationResult | MigrationFigures) -> tuple[str, str, str]:
    return one.scheme, one.traffic, one.remedy


def _stored(out: Path, clock: Clock) -> Iterator[MigrationFigures]:
    """Yield the migrations under ``clock`` that are stored there, oldest first."""
    run = out.parent.parent
    place = out.parent if is_present(run, RECORD) else out
    folders = folders_with(place, frozenset({MIGRATION_FILE}))
    for folder in sorted(folders, key=lambda folder: folder.name):
        try:
            result = load_migration(folder)
        except UsageError:
            continue  # of another version, or damaged
        special = result.options or result.load or result.note
        if not special and result.clock is clock:
            source = f"stored with these results: {folder.name}"
            yield MigrationFigures.of(result, source=source)


def evidence_of(
    results: Sequence[MigrationResult], *, measured_on: str, versions: Mapping[str, str]
) -> MigrationEvidence:
    """Return the medians of each kind of migration, in the order in which the kinds first came.

    Raises:
        UsageError: there is none.
    """
    if not results:
        raise UsageError("No migration was measured.")
    kinds: dict[tuple[str, str, str], list[MigrationResult]] = {}
    for result in results:
        kinds.setdefault(_kind(result), []).append(result)
    return MigrationEvidence(
        host=results[0].source,
        clock=results[0].clock,
        measured_on=measured_on,
        versions=versions,
        figures=tuple(MigrationFigures.of(*each) for each in kinds.values()),
    )
