"""What every room that shows something needs: plain text as a terminal would have it, templates."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Template
    from rich.console import Console


def plain_text(draw: Callable[[Console], None], *, width: int) -> str:
    """What ``draw`` prints, ``width`` columns wide, without colours: to be kept and compared."""
    from rich.console import Console

    # In a notebook's kernel rich would show the text at once instead of writing it to the file.
    output = StringIO()
    draw(
        Console(
            file=output,
            width=width,
            no_color=True,
            highlight=False,
            emoji=False,
            force_jupyter=False,
        )
    )
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines()) + "\n"


@cache
def template(package: str, name: str) -> Template:
    """A template of a package's folder ``templates``; what it is given is escaped.

    A name that the template needs and is not given is an error, not an empty place.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = files(package).joinpath("templates", name)
    return environment.from_string(source.read_text(encoding="utf-8"))
