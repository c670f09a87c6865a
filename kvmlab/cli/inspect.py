"""`kvmlab inspect` and `doctor`: a host is read, and nothing on it is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kvmlab.cli.group import CommandGroup
from kvmlab.cli.output import out, print_json, print_line
from kvmlab.cli.parameters import AsJson, HostSpec, open_lab

commands = CommandGroup()


Record = Annotated[
    Path | None,
    typer.Option("--record", metavar="FILE", help="Write all that was read, for a bug report."),
]
Anonymize = Annotated[
    bool,
    typer.Option(
        "--anonymize",
        help="With --record: other MACs, IP addresses, UUIDs, host and VM names. Names of "
        "interfaces stay.",
    ),
]


@commands.command()
def inspect(
    host: HostSpec = "embedded",
    as_json: AsJson = False,
    record: Record = None,
    anonymize: Anonymize = False,
) -> None:
    """Read a host: CPU, modules, libvirt, IOMMU, network cards. Changes nothing."""
    if record is not None or anonymize:
        _record(host, record, anonymize=anonymize)
        return
    with open_lab(host) as lab:
        facts = lab.inspect()
    if as_json:
        print_json(facts.to_dict())
    else:
        print_line(str(facts))


def _record(host: str, path: Path | None, *, anonymize: bool) -> None:
    from kvmlab.directories import check_writable
    from kvmlab.doctor.recording import record
    from kvmlab.errors import UsageError

    if path is None:
        raise UsageError("--anonymize is for recordings.", todo="Add --record FILE.")
    check_writable(path)
    with open_lab(host) as lab:
        recording = record(lab.host)
    (recording.anonymized() if anonymize else recording).save(path)
    print_line(
        f"{path}: everything that was read of {recording.host}. Look at it before you send it."
    )


@commands.command()
def doctor(host: HostSpec = "embedded", as_json: AsJson = False) -> None:
    """Check a host by every rule: what was read, the verdict, the fix. Changes nothing.

    Ends with 3 where there is a problem, with 0 where there are at most warnings.
    """
    from kvmlab.doctor.display import show

    with open_lab(host) as lab:
        diagnosis = lab.doctor()
    if as_json:
        print_json(diagnosis.to_dict())
    else:
        show(diagnosis, out)
    raise typer.Exit(diagnosis.exit_code)
