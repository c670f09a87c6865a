"""`kvmlab bundle`: everything that a place without a network needs, in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kvmlab.cli.group import CommandGroup
from kvmlab.cli.output import print_line, print_progress, print_table

commands = CommandGroup()


@commands.command()
def bundle(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    state: Annotated[
        bool,
        typer.Option(
            help="Put the saved state into it, with the keys of its host; without, the embedded "
            "host is booted where the bundle is used."
        ),
    ] = True,
) -> None:
    """Write wheels, image, QEMU and saved state into one file, for `./lab --bundle FILE`."""
    from kvmlab.lab.bundle import write_bundle

    parts = write_bundle(file, with_state=state, progress=print_progress)
    print_table(("part", "MiB"), ((name, f"{size / 2**20:.0f}") for name, size in parts.items()))
    print_line(f"{file}: {file.stat().st_size / 2**20:.0f} MiB")
