"""Parameters of notebooks: their declarations, and checks of the values that a person gives.

papermill only warns about a parameter that a notebook does not have, and accepts text for a
number; after a typing error a notebook would run for minutes with the default. So names and types
are checked first.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kvmlab.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from kvmlab.runbook.notebooks import Notebook

Value = str | int | float | bool

_TYPES: Mapping[str, type[Value]] = {"str": str, "int": int, "float": float, "bool": bool}
_MEANINGS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
}
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
        """Return ``text`` from a command line as a value of this parameter's type.

        Raises:
            UsageError: ``text`` is not one.
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
            f"{text!r} cannot be the value of {self.name}, which is {_MEANINGS[self.type_name]}.",
            todo=self.line,
        )

    @property
    def line(self) -> str:
        """The declaration as one line: name, type, default and help."""
        return f"{self.name} ({self.type_name}, by default {self.default!r}): {self.help}"

    def to_dict(self) -> dict[str, object]:
        """Return the form for JSON."""
        return {
            "name": self.name,
            "type": self.type_name,
            "default": self.default,
            "help": self.help,
        }


def declared(notebook: Path) -> tuple[Parameter, ...]:
    """Return the parameters that papermill finds in ``notebook``, each with its type.

    Raises:
        UsageError: a parameter is not annotated as str, int, float or bool, its default is no
            value of that type, or the notebook names no language.
    """
    import papermill

    try:
        declarations = papermill.inspect_notebook(str(notebook))
    except ValueError as error:
        raise UsageError(
            f"papermill cannot find the parameters of {notebook.name}: {error}",
            todo="Open it in JupyterLab, choose the kernel “kvmlab” or Python 3, and save it.",
        ) from error
    return tuple(
        _typed(notebook, str(each["name"]), str(each["inferred_type_name"]), each)
        for each in declarations.values()
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
    """Return the names and values of ``NAME=VALUE`` words of a command line.

    Raises:
        UsageError: a word has no ``=`` or no name, or one name has two values.
    """
    values: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise UsageError(
                f"{pair!r} is not a parameter.", todo="Write it as -p NAME=VALUE, without spaces."
            )
        name = name.strip()
        if values.get(name, value) != value:
            raise UsageError(
                f"{name} was given twice, as {values[name]!r} and as {value!r}.",
                todo="Give each parameter once.",
            )
        values[name] = value
    return values


def convert_all(
    texts: Mapping[str, str], notebooks: Sequence[Notebook]
) -> dict[str, dict[str, Value]]:
    """Return for each notebook, by name, the values of those parameters that it has.

    Raises:
        UsageError: no notebook has a parameter of that name, or a value does not fit.
    """
    for name in texts:
        if not any(name == each.name for book in notebooks for each in book.parameters):
            raise _unknown(name, notebooks)
    return {
        book.name: {
            parameter.name: parameter.convert(texts[parameter.name])
            for parameter in book.parameters
            if parameter.name in texts
        }
        for book in notebooks
    }


def _unknown(name: str, notebooks: Sequence[Notebook]) -> UsageError:
    lines: dict[str, str] = {}
    for book in notebooks:
        for parameter in book.parameters:
            lines.setdefault(parameter.name, parameter.line)
    hint = did_you_mean(name.upper(), lines)
    names = ", ".join(book.name for book in notebooks)
    return UsageError(
        f"{names} has no parameter {name!r}.{hint}"
        if len(notebooks) == 1
        else f"None of {names} has a parameter {name!r}.{hint}",
        todo="\n".join(["These can be given:", *(f"  {line}" for line in lines.values())]),
    )
