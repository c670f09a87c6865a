"""The parameters of notebooks: what is declared, and whether what a person gave fits it.

papermill only warns about a parameter that a notebook does not have, and takes text for a number;
a typing error would then run for minutes with the default. So names and types are checked first.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from kvmlab.errors import UsageError

if TYPE_CHECKING:
    from kvmlab.runbook.notebooks import Notebook

Value = str | int | float | bool

_TYPES: Mapping[str, type[Value]] = {"str": str, "int": int, "float": float, "bool": bool}
_TRUE = ("true", "yes", "1", "on")
_FALSE = ("false", "no", "0", "off")


@dataclass(frozen=True)
class Parameter:
    """One line of a notebook's parameters cell: ``NAME: type = value  # help``."""

    name: str
    type_name: str
    default: Value
    help: str

    def convert(self, text: str) -> Value:
        """``text`` from a command line as a value of this parameter's type.

        Raises:
            UsageError: the text is none.
        """
        if self.type_name == "str":
            return text
        if self.type_name == "bool":
            if text.lower() in (*_TRUE, *_FALSE):
                return text.lower() in _TRUE
        else:
            try:
                return _TYPES[self.type_name](text)
            except ValueError:
                pass
        raise UsageError(
            f"{text!r} cannot be the value of {self.name}, which is {_article(self.type_name)}.",
            todo=self.line,
        )

    @property
    def line(self) -> str:
        """One line for a person: name, type, default and help."""
        return f"{self.name} ({self.type_name}, by default {self.default!r}): {self.help}"

    def to_dict(self) -> dict[str, object]:
        """The fields, for JSON."""
        return {
            "name": self.name,
            "type": self.type_name,
            "default": self.default,
            "help": self.help,
        }


def declared(notebook: Path) -> tuple[Parameter, ...]:
    """The parameters that papermill finds in ``notebook``, each with its type.

    Raises:
        UsageError: a parameter has no annotation of str, int, float or bool, or its default is
            no value of that type; or the notebook does not say its language.
    """
    import papermill

    try:
        found = papermill.inspect_notebook(str(notebook))
    except ValueError as error:
        raise UsageError(
            f"papermill cannot find the parameters of {notebook.name}: {error}",
            todo="Open it in JupyterLab, choose the kernel “kvmlab” or Python 3, and save it.",
        ) from error
    return tuple(
        _typed(notebook, str(each["name"]), str(each["inferred_type_name"]), each)
        for each in found.values()
    )


def _typed(notebook: Path, name: str, type_name: str, inferred: Mapping[str, object]) -> Parameter:
    text = str(inferred["default"])
    kind = _TYPES.get(type_name)
    try:
        default = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        default = None
    if kind is float and type(default) is int:
        default = float(default)
    if kind is None or type(default) is not kind:
        raise UsageError(
            f"The parameter {name} of {notebook.name} is declared as `{name}: {type_name} = "
            f"{text}`, which is not one of str, int, float or bool with a value of that type.",
            todo="Write it as one line: NAME: type = value  # help",
        )
    return Parameter(name, type_name, default, str(inferred["help"]))


def parse(pairs: Sequence[str]) -> dict[str, str]:
    """``NAME=VALUE`` words of a command line.

    Raises:
        UsageError: a word has no ``=`` or no name, or a name is given twice with two values.
    """
    given: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise UsageError(
                f"{pair!r} is not a parameter.", todo="Write it as -p NAME=VALUE, without spaces."
            )
        name = name.strip()
        if given.get(name, value) != value:
            raise UsageError(
                f"{name} was given twice, as {given[name]!r} and as {value!r}.",
                todo="Give each parameter once.",
            )
        given[name] = value
    return given


def check(given: Mapping[str, str], notebooks: Sequence[Notebook]) -> dict[str, dict[str, Value]]:
    """For each notebook (by name) those of the ``given`` parameters that it has, converted.

    Raises:
        UsageError: no notebook has a parameter of that name, or a value does not fit.
    """
    for name in given:
        if not any(name == each.name for book in notebooks for each in book.parameters):
            raise _unknown(name, notebooks)
    return {
        book.name: {
            parameter.name: parameter.convert(given[parameter.name])
            for parameter in book.parameters
            if parameter.name in given
        }
        for book in notebooks
    }


def _unknown(name: str, notebooks: Sequence[Notebook]) -> UsageError:
    lines: dict[str, str] = {}
    for book in notebooks:
        for parameter in book.parameters:
            lines.setdefault(parameter.name, parameter.line)
    near = get_close_matches(name.upper(), lines, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    books = ", ".join(book.name for book in notebooks)
    return UsageError(
        f"{books} has no parameter {name!r}.{hint}"
        if len(notebooks) == 1
        else f"None of {books} has a parameter {name!r}.{hint}",
        todo="\n".join(["These can be given:", *(f"  {line}" for line in lines.values())]),
    )


def _article(type_name: str) -> str:
    return {
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "str": "text",
    }[type_name]
