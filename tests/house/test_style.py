"""Habits of the house that ruff has no rule for. Each test names every place at once."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

import pytest

from tests.house.tree import Module, functions, modules

FUNCTION_LINES = 65  # with its docstring

Found = Iterator[tuple[ast.AST, str]]


def long_functions(module: Module) -> Found:
    for function in functions(module):
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        if lines > FUNCTION_LINES:
            yield function, f"{function.name} has {lines} lines"


def markup_by_f_string(module: Module) -> Found:
    reprs = [function for function in functions(module) if function.name == "__repr__"]
    harmless = {id(node) for function in reprs for node in ast.walk(function)}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.JoinedStr) and id(node) not in harmless:
            fixed = "".join(str(v.value) for v in node.values if isinstance(v, ast.Constant))
            if re.search(r"</?[a-zA-Z]\w*[ />]", fixed):
                yield node, "markup in an f-string is not escaped"


def shell_strings(module: Module) -> Found:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            if ast.unparse(node.func) in {"os.system", "os.popen", "subprocess.getoutput"}:
                yield node, "a shell string; use kvmlab.process.run"
            for keyword in node.keywords:
                if keyword.arg == "shell" and ast.unparse(keyword.value) != "False":
                    yield node, "a shell string; use an argv"


def waits_for_a_time(module: Module) -> Found:
    polls = [function for function in functions(module) if _loops(function)]
    polled = {id(node) for function in polls for node in ast.walk(function)}
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call) or id(node) in polled:
            continue
        if ast.unparse(node.func) in {"time.sleep", "sleep"}:
            yield node, "wait for a condition with kvmlab.deadline.until, not for a time"


def _loops(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(node, ast.While) for node in ast.walk(function))


def left_for_later(module: Module) -> Found:
    for number, line in enumerate(module.text.splitlines(), 1):
        if re.search(r"\b(TODO|FIXME|XXX|NotImplementedError)\b", line):
            yield ast.Pass(lineno=number), line.strip()


def broad_excepts(module: Module) -> Found:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler):
            caught = "everything" if node.type is None else ast.unparse(node.type)
            raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            if caught in {"everything", "Exception", "BaseException"} and not raises:
                yield node, f"catches {caught}; which error is meant?"


@pytest.mark.parametrize(
    "rule",
    [
        long_functions,
        markup_by_f_string,
        shell_strings,
        waits_for_a_time,
        left_for_later,
        broad_excepts,
    ],
)
def test_nowhere(rule: Callable[[Module], Found]) -> None:
    places = [f"{one.where(node)}: {what}" for one in modules() for node, what in rule(one)]
    assert not places, "\n".join(["", *places])
