"""`kvmlab atlas` and `kvmlab tunings`: what each tuning is worth, and which there are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvmlab.cli.changes import confirm_changes
from kvmlab.cli.group import CommandGroup
from kvmlab.cli.measure import ProgressLine
from kvmlab.cli.output import print_json, print_line, print_notice, print_table
from kvmlab.cli.parameters import (
    AsJson,
    CableText,
    Cut,
    DomainName,
    HostSpec,
    Language,
    Yes,
    open_lab,
    scheme_from,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvmlab.measure import Trials
    from kvmlab.results.atlas import Atlas
    from kvmlab.tunings import Tuning

commands = CommandGroup()

TuningNames = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TUNING]...",
        help="Ids (all values but the default) or NAME=VALUE; by default those of docs/atlas.md, "
        "on a host of others only those that touch the VM's own interface, the strongest first.",
    ),
]
SchemeName = Annotated[str, typer.Option("--scheme", help="The scheme that is tuned.")]
Folder = Annotated[
    Path,
    typer.Option("--folder", help="Where measurements are kept; what is there is not repeated."),
]
Pages = Annotated[
    Path | None,
    typer.Option("--write", help="A folder for atlas.md and atlas.csv."),
]
TrialCount = Annotated[
    int | None,
    typer.Option(
        "--trials",
        min=1,
        help="Trials of each workload and tuning; by default 1, on a host of others 3.",
    ),
]
Workloads = Annotated[
    list[str] | None,
    typer.Option(
        "--workload",
        "-w",
        help="A workload, may be repeated; by default tcp_up, tcp_down, pps, request_response, "
        "latency and tcp_up_flows, on a host of others tcp_up and latency.",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Embedded hosts that measure at a time; by default as many as CPUs and memory allow.",
    ),
]
Baselines = Annotated[
    int | None,
    typer.Option(
        min=1, help="How often the scheme without tunings is measured; by default 6, elsewhere 3."
    ),
]
Pairs = Annotated[int, typer.Option(min=0, help="So many of the strongest, two at a time.")]
Budget = Annotated[
    float | None,
    typer.Option("--budget", metavar="SECONDS", help="Begin nothing new after so long."),
]


@commands.command()
def atlas(
    tunings: TuningNames = None,
    scheme: SchemeName = "virtio-vhost",
    host: HostSpec = "embedded",
    domain: DomainName = None,
    cable: CableText = "",
    cut: Cut = None,
    folder: Folder = Path("atlas"),
    write: Pages = None,
    trials: TrialCount = None,
    workload: Workloads = None,
    jobs: Jobs = None,
    baselines: Baselines = None,
    pairs: Pairs = 0,
    budget: Budget = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Measure tunings, each against the scheme without it: ratios, and who paid.

    Resumable: a second run measures what the folder does not hold yet. On a host that is not the
    embedded one the safe part is measured, within a budget of ten minutes by default, and laid
    beside the atlas that ships with kvmlab.
    """
    from kvmlab.lab import EMBEDDED
    from kvmlab.lab.atlas_survey import BASELINES

    if write is not None:
        _check_pages(write)
    on_embedded = host == EMBEDDED
    chosen = chosen_tunings(tunings or (), local_only=not on_embedded)
    settings = _settings(trials, workload, on_embedded=on_embedded)
    with (
        open_lab(
            host,
            domain=domain,
            cable=cable,
            allow_changes=yes,
            cut=cut or (),
            out=folder / "runs",
        ) as lab,
        ProgressLine() as progress,
    ):
        if not lab.host.allows_changes:
            confirm_changes(lab, f"{len(chosen)} tunings of the VM's interface, one after another")
        measured = lab.atlas(
            *chosen,
            scheme=scheme_from(scheme, None),
            folder=folder,
            trials=settings,
            jobs=jobs,
            baselines=baselines or (_BASELINES if on_embedded else BASELINES),
            pairs=pairs,
            budget_sec=budget if budget is not None or on_embedded else _HOST_BUDGET_SEC,
            progress=progress.show,
        )
    measured.save(folder / "atlas.json")
    if write is not None:
        options = {"--jobs": jobs, "--trials": trials, "--baselines": baselines, "--pairs": pairs}
        words = ("--scheme", scheme, *(w for name in workload or () for w in ("-w", name)))
        command = _command(host, (*(tunings or ()), *words), options)
        write_pages(measured, write, command=command)
    _show(measured, beside_shipped=not on_embedded, as_json=as_json)


def _settings(count: int | None, workloads: Sequence[str] | None, *, on_embedded: bool) -> Trials:
    """Return the settings of the trials; on a host of others those of the atlas's columns."""
    from dataclasses import replace

    from kvmlab.lab.atlas_survey import COLUMN_WORKLOADS, TRIALS

    usual = TRIALS.workloads if on_embedded else COLUMN_WORKLOADS
    return replace(
        TRIALS,
        count=count or (TRIALS.count if on_embedded else _HOST_TRIALS),
        full_costs=on_embedded,
        workloads=tuple(workloads or usual),
    )


def _show(measured: Atlas, *, beside_shipped: bool, as_json: bool) -> None:
    """Print an atlas, and beside it the one that ships with kvmlab, which is another host's."""
    from kvmlab.report import tables
    from kvmlab.results.atlas import Atlas
    from kvmlab.serialization import to_json

    if as_json:
        print_json(to_json(measured))
        return
    _print_atlas(measured)
    if beside_shipped:
        print_line("")
        frame = tables.atlases(measured, Atlas.shipped())
        print_table(
            ("tuning", *map(str, frame.columns)),
            (tuple(map(str, row)) for row in frame.reset_index().itertuples(index=False)),
        )


@commands.command(name="tunings")
def list_tunings(language: Language = "en", as_json: AsJson = False) -> None:
    """List the tunings: values, default, where each sets something, what it does."""
    from kvmlab.tunings import TUNINGS

    kinds = [kind(kind.default) for kind in TUNINGS.values()]
    if as_json:
        print_json(
            [
                {
                    "id": each.id,
                    "values": each.values,
                    "default": each.default,
                    "place": each.place.value,
                    "does": each.text.does.in_language(language),
                }
                for each in kinds
            ]
        )
        return
    print_table(
        ("tuning", "values", "place", "what it does"),
        (
            (
                each.id,
                ", ".join(f"{v} (default)" if v == each.default else v for v in each.values),
                each.place.value,
                each.text.does.in_language(language),
            )
            for each in kinds
        ),
    )


_HOST_BUDGET_SEC = 600.0
_HOST_TRIALS = 3
_BASELINES = 6


def chosen_tunings(names: Sequence[str], *, local_only: bool) -> tuple[Tuning, ...]:
    """Return the tunings that the names ask for, an id standing for all values but the default.

    Without names they are those of the atlas. With ``local_only``, where a budget may end before
    the last one, the ones with the largest effect in the atlas that ships come first.

    Raises:
        UsageError: there is no such tuning or value.
    """
    from kvmlab.results.atlas import Atlas
    from kvmlab.tunings import TUNINGS, surveyed, tuning_from_text, values_of

    if not names and not local_only:
        return surveyed()
    if not names:
        places = {row.tuning: place for place, row in enumerate(Atlas.shipped().measured)}
        local = [tuning for tuning in surveyed() if tuning.is_local]
        return tuple(sorted(local, key=lambda tuning: places.get(str(tuning), len(places))))
    chosen: list[Tuning] = []
    for name in names:
        chosen += values_of([TUNINGS[name]]) if name in TUNINGS else [tuning_from_text(name)]
    return tuple(chosen)


def _command(host: str, words: Sequence[str], options: Mapping[str, int | None]) -> str:
    """Return the command line that measures the same, for the page."""
    numbers = (w for name, value in options.items() if value for w in (name, str(value)))
    return " ".join(("kvmlab", "atlas", *words, "--host", host, *numbers, "--write", "docs"))


def _check_pages(folder: Path) -> None:
    """Make the folder for the pages, before hours of measuring for them.

    Raises:
        UsageError: it cannot be written.
    """
    from kvmlab.directories import check_writable, naming_failures

    with naming_failures(folder):
        folder.mkdir(parents=True, exist_ok=True)
    check_writable(folder / "atlas.md")


def write_pages(measured: Atlas, folder: Path, *, command: str) -> None:
    """Write the atlas as Markdown, which names the ``command``, and as CSV."""
    from kvmlab.directories import write_named
    from kvmlab.report.atlas_table import markdown

    write_named(folder / "atlas.md", markdown(measured, command=command))
    write_named(folder / "atlas.csv", measured.csv())
    print_notice(f"Written: {folder}/atlas.md, atlas.csv.")


def _print_atlas(measured: Atlas) -> None:
    from kvmlab.report.atlas_table import ratio
    from kvmlab.results.atlas import COLUMNS

    print_table(
        ("tuning", *COLUMNS, "what it does"),
        (
            (row.tuning, *(ratio(row.effect(c)) for c in COLUMNS), row.text().does)
            for row in measured.measured
        ),
    )
    for row in measured.refused:
        print_line(f"{row.tuning}: refused. {row.refused}")
    print_line("In brackets: no difference shown.")
    if measured.emulated:
        print_line(f"{measured.emulated} {measured.clock.meaning}")
