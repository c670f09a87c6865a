"""Habits of the house that ruff has no rule for."""

from __future__ import annotations

import ast
import re

import pytest

from tests.house.tree import ROOT, Module, functions, modules

MODULE_LINES = 320
FUNCTION_LINES = 60  # with its docstring
MODULES = modules()


def _id(module: Module) -> str:
    return str(module.path.relative_to(ROOT))


@pytest.fixture(params=MODULES, ids=_id)
def module(request: pytest.FixtureRequest) -> Module:
    found: Module = request.param
    return found


def test_module_and_functions_are_short(module: Module) -> None:
    lines = module.text.count("\n")
    assert lines <= MODULE_LINES, f"{_id(module)} has {lines} lines: it wants a second room."
    for function in functions(module):
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        assert length <= FUNCTION_LINES, f"{module.where(function)}: {function.name} is {length}."


def test_no_markup_by_f_string(module: Module) -> None:
    reprs = [function for function in functions(module) if function.name == "__repr__"]
    harmless = {id(node) for function in reprs for node in ast.walk(function)}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.JoinedStr) and id(node) not in harmless:
            fixed = "".join(str(v.value) for v in node.values if isinstance(v, ast.Constant))
            assert not re.search(r"</?[a-zA-Z]\w*[ />]", fixed), (
                f"{module.where(node)}: markup in an f-string is not escaped."
            )


def test_no_shell_strings(module: Module) -> None:
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        assert called not in {"os.system", "os.popen", "subprocess.getoutput"}, module.where(node)
        for keyword in node.keywords:
            is_true = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
            assert not (keyword.arg == "shell" and is_true), module.where(node)


def test_waits_for_conditions_only(module: Module) -> None:
    if module.path.name == "waiting.py":
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in {"time.sleep", "sleep"}, (
                f"{module.where(node)}: wait for a condition with kvmlab.waiting.until."
            )


def test_nothing_is_left_for_later(module: Module) -> None:
    for number, line in enumerate(module.text.splitlines(), 1):
        assert not re.search(r"\b(TODO|FIXME|XXX|NotImplementedError)\b", line), (
            f"{_id(module)}:{number}: {line.strip()}"
        )


def test_no_broad_excepts(module: Module) -> None:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler):
            caught = "everything" if node.type is None else ast.unparse(node.type)
            reraises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            assert caught not in {"everything", "Exception", "BaseException"} or reraises, (
                f"{module.where(node)}: catches {caught}; which error is meant?"
            )
