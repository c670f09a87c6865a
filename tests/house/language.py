"""Counts of names and docstrings that a newcomer cannot search: ``python -m tests.house.language``.

Prints one line for each count, and the places behind it with ``--places``.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from tests.house.tree import ROOT, Module, functions, modules, modules_of

#: Nouns in -ing: they name a thing and not what somebody does there.
ING = frozenset({"drawing", "ranking", "recording", "rendering"})
#: Names that say how a value came about and not what it holds.
VAGUE = frozenset({"found", "told", "said", "made", "moaned", "given"})
#: How a docstring opens that describes by a question instead of saying what the function does.
QUESTION = re.compile(r"(What|Who|Whose|Whether|Where|Which|How|When|Why)\b")


def ing_modules(tree: Sequence[Module]) -> Iterator[str]:
    """Yield the modules whose names end in -ing."""
    for module in tree:
        stem = module.path.stem.removeprefix("test_")
        if stem.endswith("ing") and stem not in ING:
            yield str(module.path.relative_to(ROOT))


def vague_names(tree: Sequence[Module]) -> Iterator[str]:
    """Yield the places that assign to, or take as a parameter, a name of `VAGUE`."""
    for module in tree:
        for node in ast.walk(module.tree):
            name = ""
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                name = node.id
            elif isinstance(node, ast.arg):
                name = node.arg
            if name in VAGUE:
                yield f"{module.where(node)} {name}"


def question_docstrings(tree: Sequence[Module]) -> Iterator[str]:
    """Yield the modules, classes and functions whose docstrings open with a question word."""
    for module in tree:
        nodes: list[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]
        nodes = [module.tree, *functions(module)]
        nodes += [node for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)]
        for node in nodes:
            docstring = ast.get_docstring(node) or ""
            if QUESTION.match(docstring):
                yield f"{module.where(node)} {docstring.splitlines()[0]}"


def homonymous_classes(tree: Sequence[Module]) -> Iterator[str]:
    """Yield the class names that two modules define, with both places."""
    places: dict[str, list[str]] = defaultdict(list)
    for module in tree:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(module.where(node))
    for name, where in sorted(places.items()):
        if len(where) > 1:
            yield f"{name}: {', '.join(where)}"


COUNTS = {
    "modules in -ing": ing_modules,
    "vague names": vague_names,
    "docstrings that open with a question": question_docstrings,
    "classes of the same name": homonymous_classes,
}


def main() -> None:
    """Print the counts for the package, and for tests and benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--places", action="store_true", help="print every place")
    places = parser.parse_args().places
    trees = {"kvmlab": modules(), "tests, bench": modules_of("tests") + modules_of("bench")}
    for name, tree in trees.items():
        documented = [f for module in tree for f in functions(module) if ast.get_docstring(f)]
        assigned = sum(
            isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            for module in tree
            for node in ast.walk(module.tree)
        )
        lines = sum(module.text.count("\n") for module in tree)
        print(
            f"{name}: {len(tree)} modules, {lines} lines, {len(documented)} function docstrings, "
            f"{assigned} assigned names"
        )
        for title, count in COUNTS.items():
            hits = list(count(tree))
            print(f"  {title}: {len(hits)}")
            if places:
                print(*(f"    {hit}" for hit in hits), sep="\n")


if __name__ == "__main__":
    main()
