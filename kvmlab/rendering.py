"""Plain text as a terminal would show it, and HTML templates."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from io import StringIO
from typing import TYPE_CHECKING, Final

from markupsafe import Markup, escape

from kvmlab.language import translate

if TYPE_CHECKING:
    from jinja2 import Template
    from rich.console import Console


def plain_text(draw: Callable[[Console], None], *, width: int) -> str:
    """Return what ``draw`` prints, ``width`` columns wide, without colours."""
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
    """Return a template of a package's folder ``templates``; its values are translated and escaped.

    A name that the template needs and is not given is an error, not an empty place.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_in_language,
    )
    environment.globals["_"] = translate
    environment.filters["code"] = _with_code
    source = files(package).joinpath("templates", name)
    return environment.from_string(source.read_text(encoding="utf-8"))


def script_source(script: str) -> str:
    """Return a script with the ends of lines that a browser's parser gives it, and hashes."""
    return script.replace("\r\n", "\n").replace("\r", "\n")


def script_hash(script: str) -> str:
    """Return the word of a content policy that lets exactly this script of a page run."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _with_code(text: str) -> Markup:
    """Translate a text, and make code of what stands between its grave accents."""
    parts = translate(text).split("`")
    elements = (CODE.format(part) if n % 2 else escape(part) for n, part in enumerate(parts))
    return Markup("").join(elements)


def _in_language(value: object) -> object:
    # Markup is made of texts that are translated already.
    return translate(value) if type(value) is str else value


CODE: Final = Markup("<code>{}</code>")
#: Set in the kernel of a run, where nobody clicks: what would be a widget is then a static text.
HEADLESS_VARIABLE: Final = "KVMLAB_HEADLESS"


def is_headless() -> bool:
    """Return whether nobody sits before this kernel."""
    return bool(os.environ.get(HEADLESS_VARIABLE))
