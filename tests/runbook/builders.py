"""Small notebooks that need no host, written for one test each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nbformat

#: Of a notebook that needs no host.
PARAMETERS = (
    "TRIALS: int = 3  # how often\n"
    "SECONDS: float = 1.5  # how long\n"
    "DRY: bool = False  # only show\n"
    'OUT: str = "results"  # folder for results'
)
WITH_HOST = 'HOST: str = "qemu:///system"  # host to work on\n' + PARAMETERS


def notebook(
    path: Path, cells: Sequence[str] = (), *, parameters: str = PARAMETERS, kernel: str = "python3"
) -> Path:
    """Write a notebook with a title, a parameters cell and ``cells``, each under a heading."""
    declared = nbformat.v4.new_code_cell(parameters)
    declared.metadata.tags = ["parameters"]
    content = [nbformat.v4.new_markdown_cell(f"# {path.stem}\n\nWhat it is about."), declared]
    for number, source in enumerate(cells, 1):
        content += [
            nbformat.v4.new_markdown_cell(f"## Part {number}"),
            nbformat.v4.new_code_cell(source),
        ]
    node = nbformat.v4.new_notebook(cells=content)
    node.metadata.kernelspec = {
        "name": kernel,
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(node, path)
    return path
