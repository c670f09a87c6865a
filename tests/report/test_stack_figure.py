"""The picture of the stacks on ports."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from kvmlab import figures
from kvmlab.errors import UsageError
from tests.facts.host_builder import Layout, described

HOSTS = Path(__file__).resolve().parents[1] / "data" / "hosts"


@pytest.mark.parametrize("path", sorted(HOSTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_user_has_a_box_that_none_other_covers(path: Path) -> None:
    ports = Layout(described(path)).facts.users
    figure = figures.stack(ports)
    parts = [user for port in ports for top in port.users for user in top.walk()]
    (places,) = figure.data
    assert len(places.x) == len(ports) + len(parts)
    assert len(set(zip(places.x, places.y, strict=True))) == len(places.x)
    by_level: dict[float, list[float]] = {}
    for x, y in zip(places.x, places.y, strict=True):
        by_level.setdefault(x, []).append(y)
    for row in by_level.values():
        ordered = sorted(row)
        gaps = [right - left for left, right in itertools.pairwise(ordered)]
        assert all(gap >= 1 for gap in gaps)
    lines = [shape for shape in figure.layout.shapes if shape.type == "line"]
    assert len(lines) == len(parts)


def test_names_are_escaped_and_shown() -> None:
    figure = figures.stack(Layout(described(HOSTS / "bridge-uplink.yaml")).facts.users)
    texts = " ".join(str(note.text) for note in figure.layout.annotations)
    assert "<b>br0</b>" in texts
    assert "VM db1" in texts


def test_without_a_port_there_is_no_picture() -> None:
    with pytest.raises(UsageError, match="no port to draw"):
        figures.stack(())
