"""Small notebooks that need no host, written for one test each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nbformat

PARAMETERS = (
    'HOST: str = "qemu:///system"  # host to work on\n'
    "TRIALS: int = 3  # how often\n"
    "SECONDS: float = 1.5  # how long\n"
    "DRY: bool = False  # only show\n"
    'OUT: str = "results"  # folder for results'
)


def notebook(
    path: Path, cells: Sequence[str] = (), *, parameters: str = PARAMETERS, kernel: str = "python3"
) -> Path:
    """A notebook with a title, a parameters cell and ``cells``, each under a heading."""
    declared = nbformat.v4.new_code_cell(parameters)
    declared.metadata.tags = ["parameters"]
    made = [nbformat.v4.new_markdown_cell(f"# {path.stem}\n\nWhat it is about."), declared]
    for number, source in enumerate(cells, 1):
        made += [
            nbformat.v4.new_markdown_cell(f"## Part {number}"),
            nbformat.v4.new_code_cell(source),
        ]
    node = nbformat.v4.new_notebook(cells=made)
    node.metadata.kernelspec = {
        "name": kernel,
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(node, path)
    return path
