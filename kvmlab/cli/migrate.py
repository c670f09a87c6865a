"""`kvmlab migrate`: a live migration, its plan first, measured, and the VM back home."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from kvmlab.cli.changes import confirm_changes
from kvmlab.cli.group import CommandGroup
from kvmlab.cli.output import print_json, print_line, print_notice, print_progress
from kvmlab.cli.parameters import AsJson, CableText, DomainName, DryRun, HostSpec, Yes, open_lab
from kvmlab.errors import UsageError

if TYPE_CHECKING:
    from kvmlab.lab import Lab
    from kvmlab.migration import MemoryLoad, MigrationOptions, MigrationPlan

commands = CommandGroup()
_MIB: Final = 1 << 20
_OPTION_HELP: Final = (
    "bandwidth_mib=8, downtime_ms=100, auto_converge=true, post_copy=true, parallel=2 (multifd), "
    "timeout_sec=60 (then it is cancelled, and the VM stays)."
)


@commands.command()
def migrate(
    host: HostSpec = "embedded",
    to: Annotated[
        str,
        typer.Option("--to", help="The destination: qemu+ssh://…; left out, a host B is made."),
    ] = "",
    domain: DomainName = None,
    cable: CableText = "",
    nic: Annotated[
        str,
        typer.Option(help="The VM's NIC on host B: virtio-vhost, vf-teaming or macvtap-on-vf."),
    ] = "virtio-vhost",
    traffic: Annotated[
        str, typer.Option(help="What the VM does meanwhile: answers, sends, receives or tcp.")
    ] = "answers",
    remedy: Annotated[
        str,
        typer.Option(help="What closes the hole of a team: no-learning, announce-self, …"),
    ] = "",
    write_mib: Annotated[
        int,
        typer.Option(min=0, help="MiB/s that a program in the VM writes meanwhile; 0: none."),
    ] = 0,
    working_set_mib: Annotated[
        int, typer.Option(min=1, help="The memory that it writes, again and again, in MiB.")
    ] = 64,
    option: Annotated[
        list[str] | None,
        typer.Option("-k", "--option", metavar="NAME=VALUE", help=_OPTION_HELP),
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Migrate the VM live, count what its peer misses, and bring it back.

    Shows the checks and commands first, and asks where others may use the hosts. On the embedded
    host the second host is made inside of it, and the VM gets a NIC on the segment of both. Ends
    with 1 where a check forbids it or libvirt gives up: the VM is then where it was. Ends with 4
    where it did not come home: `kvmlab restore` brings it.
    """
    from kvmlab.migration import MemoryLoad

    options = _options(option)
    load = MemoryLoad(write_mib, working_set_mib) if write_mib else None
    with open_lab(host, domain=domain, cable=cable, allow_changes=yes) as lab:
        if to:
            _between_hosts(lab, to, options, load, dry_run=dry_run, as_json=as_json)
            return
        if lab.host.is_shared:
            raise UsageError(
                "A real host needs the other one named.", todo="--to qemu+ssh://root@HOST/system"
            )
        _inside(lab, nic, traffic, remedy, options, load, dry_run=dry_run, as_json=as_json)


def _options(texts: Sequence[str] | None) -> MigrationOptions:
    """Parse NAME=VALUE.

    Raises:
        UsageError: no such option, or no value of it.
    """
    import msgspec

    from kvmlab.migration import MigrationOptions

    values = dict(text.partition("=")[::2] for text in texts or ())
    unknown = sorted(values.keys() - MigrationOptions.__dataclass_fields__.keys())
    try:
        options = msgspec.convert(values, MigrationOptions, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"An option of the migration has no such value: {error}.") from error
    if unknown:
        raise UsageError(
            f"A migration has no option {unknown[0]!r}.",
            todo=f"Options: {', '.join(MigrationOptions.__dataclass_fields__)}.",
        )
    return options


def _inside(
    lab: Lab,
    nic: str,
    traffic: str,
    remedy_id: str,
    options: MigrationOptions,
    load: MemoryLoad | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Migrate to a host B inside the embedded host, under traffic."""
    from kvmlab.migration import KINDS, needs_vfs, remedy, run_migration_trial
    from kvmlab.results.migration import TRAFFICS

    if nic not in KINDS:
        raise UsageError(f"{nic!r} is no NIC that migrates here.", todo=f"One of {KINDS}.")
    chosen = next((one for one in TRAFFICS if one == traffic), None)
    if chosen is None:
        raise UsageError(f"{traffic!r} is no traffic.", todo=f"One of {TRAFFICS}.")
    closing = remedy(remedy_id)
    with ExitStack() as stack:
        there = stack.enter_context(lab.second_host(with_vfs=needs_vfs(nic)))
        card = stack.enter_context(lab.plan_migratable(nic).applied(lab.vm))
        plan = lab.plan_migration(there, options=options)
        _show(plan, dry_run=dry_run, as_json=as_json)
        if dry_run:
            print_notice("Dry run: nothing was changed that is not put back now.")
            return
        result = run_migration_trial(
            plan,
            lab.migration_cable,
            card,
            traffic=chosen,
            remedy=closing,
            load=load,
            on_job=_progress(),
        )
    if as_json:
        print_json(result.to_dict())
        return
    for name, value in result.rows():
        print_line(f"{name:34} {value}")
    print_line("The VM is back, and everything is as it was.")


def _between_hosts(
    lab: Lab,
    to: str,
    options: MigrationOptions,
    load: MemoryLoad | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Migrate to another machine and back; figures are libvirt's."""
    from kvmlab.hosts import open_host
    from kvmlab.migration import written_memory

    with open_host(to, allows_changes=lab.host.allows_changes) as there:
        plan = lab.plan_migration(there, options=options)
        _show(plan, dry_run=dry_run, as_json=as_json)
        if dry_run:
            print_notice("Dry run: nothing was changed.")
            return
        plan.refuse()
        if not lab.host.allows_changes:
            confirm_changes(lab, f"this migration to {there.label} and back")
        with written_memory(load, lab.vm) as writer, plan.applied(on_job=_progress()) as migration:
            stats = migration.stats
            writer.vm = migration.vm
            writer.stop()
    if migration.note:
        print_notice(migration.note)
    if as_json:
        print_json(stats.to_dict())
        return
    print_line(f"downtime {stats.downtime_ms} ms, elapsed {stats.elapsed_ms / 1000:.1f} s")
    print_line(f"{stats.transferred_bytes / _MIB:.0f} MiB in {stats.rounds} rounds")
    if load is not None:
        print_line(f"the VM wrote {writer.mib_per_sec:.0f} MiB/s ({load})")
    print_line(f"{lab.vm.name} is back on {lab.host.label}.")


def _show(plan: MigrationPlan, *, dry_run: bool, as_json: bool) -> None:
    """Print the plan; as JSON where it is all that there will be."""
    if not as_json:
        print_line(str(plan))
    elif dry_run:
        print_json(plan.to_dict())


def _progress() -> Callable[[Mapping[str, Any]], None]:
    rounds: set[int] = set()

    def show(job: Mapping[str, Any]) -> None:
        number = int(job.get("memory_iteration", 0))
        if number and number not in rounds:
            rounds.add(number)
            left = int(job.get("memory_remaining", 0)) / _MIB
            throttle = int(job.get("auto_converge_throttle", 0))
            if throttle:
                print_progress(
                    f"round {number}: {left:.0f} MiB left, vCPUs held back by {throttle} %"
                )
            else:
                print_progress(f"round {number}: {left:.0f} MiB left")

    return show
