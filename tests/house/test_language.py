"""Names and docstrings that a newcomer can search and guess; see `tests.house.language`."""

from __future__ import annotations

import ast

import pytest

from tests.house.language import (
    homonymous_classes,
    ing_modules,
    question_docstrings,
    vague_names,
)
from tests.house.tree import ROOT, Module, modules, modules_of


@pytest.fixture(scope="module")
def everything() -> list[Module]:
    """Return the package, its tests and its benchmarks."""
    return [*modules(), *modules_of("tests"), *modules_of("bench")]


def test_modules_are_nouns(everything: list[Module]) -> None:
    assert not list(ing_modules(everything))


def test_names_say_what_they_hold(everything: list[Module]) -> None:
    places = list(vague_names(everything))
    assert not places, "\n".join(places)


def test_docstrings_are_no_questions(everything: list[Module]) -> None:
    places = list(question_docstrings(everything))
    assert not places, "\n".join(places)


def test_no_two_classes_share_a_name(everything: list[Module]) -> None:
    assert not list(homonymous_classes(everything))


def test_each_rule_finds_what_it_is_for() -> None:
    text = (
        '"""What this is."""\n'
        'class Twin:\n    """One."""\n'
        'def look(said):\n    """Whether it works."""\n    found = said\n    return found\n'
    )
    module = Module(ROOT / "kvmlab" / "seeing.py", text, ast.parse(text))
    assert list(ing_modules([module])) == ["kvmlab/seeing.py"]
    assert [place.split()[-1] for place in vague_names([module])] == ["said", "found"]
    assert len(list(question_docstrings([module]))) == 2
    assert list(homonymous_classes([module, module]))
