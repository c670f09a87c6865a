"""The source tree as data, for the tests that hold the house in order."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "kvmlab"


@dataclass(frozen=True)
class Module:
    """One parsed file of the package."""

    path: Path
    text: str = field(repr=False)
    tree: ast.Module = field(repr=False)

    @property
    def room(self) -> str:
        """The first part of the path inside the package: "facts" for kvmlab/facts/ports.py."""
        return self.path.relative_to(PACKAGE).with_suffix("").parts[0]

    def where(self, node: ast.AST) -> str:
        """`kvmlab/facts/ports.py:12`, for messages."""
        return f"{self.path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"

    def imported(self) -> Iterator[tuple[ast.AST, str]]:
        """Every module name that is imported anywhere in the file, with its place."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield node, alias.name
            elif isinstance(node, ast.ImportFrom):
                source = "." * node.level + (node.module or "")
                # `from kvmlab import facts` imports a room by its name.
                if source == "kvmlab":
                    for alias in node.names:
                        yield node, f"kvmlab.{alias.name}"
                else:
                    yield node, source


def modules() -> list[Module]:
    """Return every Python file of the package, parsed once."""
    return modules_of("kvmlab")


@functools.cache
def modules_of(folder: str) -> list[Module]:
    """Return every Python file below ``folder`` of the repository, parsed once."""
    texts = {path: path.read_text("utf-8") for path in sorted((ROOT / folder).rglob("*.py"))}
    return [Module(path, text, ast.parse(text)) for path, text in texts.items()]


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a file."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
