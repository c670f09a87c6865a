"""Dataclasses as JSON values, and back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from kvmlab.clock import Clock
from kvmlab.results import Trial
from kvmlab.serialization import from_json, to_json
from tests.results.builders import trial


@dataclass(frozen=True)
class Place:
    folder: Path
    clock: Clock = Clock.WALL
    numbers: tuple[int, ...] = ()


def test_paths_enums_and_tuples_return_as_they_were() -> None:
    place = Place(Path("/var/tmp"), Clock.VIRTUAL, (1, 2))
    document = json.loads(json.dumps(to_json(place)))
    assert document == {"folder": "/var/tmp", "clock": "virtual", "numbers": [1, 2]}
    assert from_json(document, Place) == place


def test_what_is_computed_and_kept_is_not_written() -> None:
    measured = trial(1, 100.0)
    assert measured.cost_metrics
    assert "cost_metrics" not in to_json(measured)
    assert from_json(to_json(measured), Trial) == measured


def test_missing_fields_take_their_defaults_and_unknown_keys_are_ignored() -> None:
    assert from_json({"folder": "/", "colour": "red"}, Place) == Place(Path("/"))


@pytest.mark.parametrize(
    ("document", "place"),
    [({}, "`folder`"), ({"folder": "/", "numbers": ["one"]}, r"\$.numbers\[0\]"), ([], "array")],
)
def test_what_does_not_fit_is_named(document: object, place: str) -> None:
    with pytest.raises(ValueError, match=place):
        from_json(document, Place)


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="object has no form in JSON"):
        to_json({"key": object()})
