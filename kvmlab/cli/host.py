"""`kvmlab host …`: the embedded host by hand."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from kvmlab import embedded
from kvmlab.cli.group import CommandGroup
from kvmlab.cli.output import print_json, print_line, print_progress
from kvmlab.cli.parameters import AsJson
from kvmlab.clock import Clock
from kvmlab.errors import HostUnreachable

commands = CommandGroup("host", help="The embedded host: a whole KVM host inside one QEMU process.")

RunDir = Annotated[
    Path | None,
    typer.Option("--run-dir", help="Run directory of the host that is meant; see `status`."),
]


@commands.command()
def build(as_json: AsJson = False) -> None:
    """Build what the embedded host needs where it is missing: its image, a QEMU for emulation."""
    image, qemu = embedded.build_all(print_progress)
    if as_json:
        print_json(
            {
                "path": image.path,
                "recipe": image.recipe_hash,
                "kernel": image.kernel,
                "qemu": qemu.to_dict(),
            }
        )
    else:
        print_line(f"The image {image.recipe_hash} (kernel {image.kernel}) is in {image.path}.")
        print_line(f"Where KVM does not run it, {qemu} does.")


@commands.command()
def verify(as_json: AsJson = False) -> None:
    """Read every file that the embedded host is made of, and compare it with what was built.

    Ends with 2 where one differs. A start checks the same by size and time, and reads what changed.
    """
    from kvmlab.serialization import to_json

    builds = embedded.verify_builds()
    if as_json:
        print_json(to_json(builds))
        return
    for build in builds:
        print_line(
            f"{build.kind} {build.path.name} ({build.version}): {build.files} files as built"
        )
        if build.packages:
            print_line(f"  {len(build.packages)} packages; their versions: --json")
        for name in ("rootfs.sqfs", "vmlinuz", "initrd"):
            if name in build.seals:
                print_line(f"  {name}: sha256 {build.seals[name]['sha256']}")


@commands.command()
def share(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIRECTORY", help="By default KVMLAB_SHARED_CACHE, or /var/cache/kvmlab."
        ),
    ] = None,
) -> None:
    """Copy image and QEMU to where all users of this machine find them, with their hashes."""
    builds = embedded.cached_builds(None, progress=print_progress, with_state=False)
    target = directory or embedded.shared_dir()
    embedded.share(target, builds, print_progress)
    print_line(f"{target} has them; users find them there, or where KVMLAB_SHARED_CACHE says.")


@commands.command()
def up(
    clock: Annotated[Clock, typer.Option(help="Clock of the host.")] = Clock.VIRTUAL,
    accel: Annotated[str, typer.Option(help="auto, kvm or tcg.")] = "auto",
    qemu: Annotated[Path | None, typer.Option(help="A QEMU of your own.")] = None,
    memory_mib: Annotated[
        int, typer.Option(metavar="MIB", help="Memory of the host in MiB.")
    ] = 3072,
    cpus: Annotated[int, typer.Option(help="CPUs of the host.")] = 2,
    port: Annotated[int, typer.Option(help="Port of its sshd on 127.0.0.1; 0: a free one.")] = 0,
    idle_sec: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="It ends after so many seconds without a client."),
    ] = 7200.0,
    as_json: AsJson = False,
) -> None:
    """Start the shared host, which lasts until `down`."""
    from kvmlab.lab import preparation

    settings = embedded.Settings(
        clock=clock,
        accel=accel,
        qemu=qemu,
        memory_mib=memory_mib,
        cpus=cpus,
        ssh_port=port,
        idle_sec=idle_sec,
    )
    state = embedded.up(settings, preparation=preparation(), progress=print_progress)
    if as_json:
        print_json(state)
    else:
        _print_host(state)


@commands.command()
def status(as_json: AsJson = False) -> None:
    """List the embedded hosts that run."""
    hosts = embedded.status()
    if as_json:
        image = embedded.find_image()
        print_json({"image": image.path if image else None, "hosts": hosts})
    elif not hosts:
        print_line("No embedded host runs.")
    for host in hosts if not as_json else ():
        _print_host(host)


@commands.command()
def console(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    run_dir: RunDir = None,
) -> None:
    """Print the log of a host's serial console."""
    path = Path(find_host(run_dir)["console"])
    with path.open("rb") as log:
        while True:
            sys.stdout.buffer.write(log.read())
            sys.stdout.flush()
            if not follow or not path.exists():
                return
            time.sleep(0.2)


@commands.command(context_settings={"ignore_unknown_options": True})
def ssh(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", help="What to run there.")
    ] = None,
    run_dir: RunDir = None,
) -> None:
    """Open a shell on a host, or run a command there."""
    host = find_host(run_dir)
    argv = embedded.ssh_argv(Path(host["run_dir"]), int(host["port"]), *(command or ()))
    sys.stdout.flush()
    os.execvp(argv[0], argv)


@commands.command()
def down(
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that notebooks and runs have started.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """End the shared host."""
    ended = embedded.down(everything=everything)
    if as_json:
        print_json({"ended": ended})
    elif not ended:
        print_line("No embedded host ran." if everything else "No shared embedded host was up.")
    else:
        for run_dir in ended:
            print_line(f"The host in {run_dir} has ended.")


def find_host(run_dir: Path | None) -> dict[str, Any]:
    """Return the status of the host that is meant: by ``run_dir``, the shared one, or the only one.

    Raises:
        HostUnreachable: there is none, there are several, or it does not answer.
    """
    hosts = embedded.status()
    if run_dir is not None:
        hosts = [host for host in hosts if Path(host["run_dir"]) == run_dir]
    candidates = [host for host in hosts if host["shared"]] or hosts
    if len(candidates) != 1:
        number = f"{len(candidates)} embedded hosts run" if candidates else "no embedded host runs"
        raise HostUnreachable(
            f"One host was needed, and {number}{' there' if run_dir else ''}.",
            todo="Start one with `kvmlab host up`, or name one of `kvmlab host status` by "
            "--run-dir.",
        )
    (host,) = candidates
    if "port" not in host:
        raise HostUnreachable(str(host.get("error", "The host does not answer.")))
    return host


def _print_host(host: dict[str, Any]) -> None:
    """Print the status of one host: a heading and a line for each property."""
    kind = "shared" if host["shared"] else f"started by process {host['owner_pid']}"
    print_line(f"Embedded host ({kind}): {host['label']}")
    if "error" in host:
        print_line(f"  does not answer: {host['error']}")
        return
    if host["died"]:
        print_line(f"  DIED: {host['died']['message']}")
    print_line(f"  came up: {host['how']} ({host['up_sec']:.1f} s)")
    print_line(f"  {host['qemu']}")
    print_line(f"  {host['accel'].upper()}: {host['accel_reason']}")
    print_line(f"  ssh: 127.0.0.1 port {host['port']}, key {host['key']}")
    print_line(f"  console: {host['console']}")
    print_line(f"  in use by: {host['leaseholder'] or 'nobody'}")
