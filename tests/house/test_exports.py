"""Public names leave only through kvmlab/__init__.py, and importing it does nothing."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import kvmlab
from tests.house.tree import PACKAGE

PUBLIC = [name for name in kvmlab.__all__ if not name.startswith("__")]


def test_version_is_that_of_pyproject(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert kvmlab.__version__ == project["version"]


def test_all_is_sorted() -> None:
    assert list(kvmlab.__all__) == sorted(kvmlab.__all__)


def test_all_and_its_table_agree() -> None:
    assert {*kvmlab._HOMES, *kvmlab._MODULES, "__version__"} == set(kvmlab.__all__)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    seen = {
        alias.asname or alias.name: f"{node.module}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("kvmlab.")
        for alias in node.names
    }
    modules = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if f"{node.module}.{alias.name}" in kvmlab._MODULES.values()
    }
    assert modules == set(kvmlab._MODULES)
    assert {name: home for name, home in seen.items() if name not in modules} == kvmlab._HOMES


@pytest.mark.parametrize("name", PUBLIC)
def test_name_resolves_and_is_documented(name: str) -> None:
    value = getattr(kvmlab, name)
    text = inspect.getdoc(value)
    assert text, f"kvmlab.{name} has no docstring."
    if dataclasses.is_dataclass(value):
        # Python writes the signature into a dataclass that has no docstring of its own.
        assert not text.startswith(f"{name}("), f"kvmlab.{name} has no docstring of its own."


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        kvmlab.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_importing_kvmlab_loads_nothing(tmp_path: Path) -> None:
    program = (
        "import sys; before = set(sys.modules); import kvmlab; "
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    outside = set(done.stdout.split()) - set(sys.stdlib_module_names) - {"kvmlab"}
    assert not outside, f"import kvmlab loaded {sorted(outside)}."
