"""`kvmlab host …`: the embedded host by hand."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from kvmlab import embedded
from kvmlab.clock import Clock
from kvmlab.errors import HostUnreachable

app = typer.Typer(
    name="host",
    help="The embedded host: a whole KVM host inside one QEMU process.",
    no_args_is_help=True,
    add_completion=False,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Which = Annotated[
    Path | None,
    typer.Option("--run-dir", help="Run directory of the host that is meant; see `status`."),
]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print_json(data: object) -> None:
    print(json.dumps(data, indent=2, default=str))


@app.command()
def build(as_json: AsJson = False) -> None:
    """Build what the embedded host needs, or find it: its image, a QEMU for emulation."""
    image, qemu = embedded.build_all(_say)
    if as_json:
        _print_json(
            {
                "path": image.path,
                "recipe": image.recipe_hash,
                "kernel": image.kernel,
                "qemu": qemu.to_dict(),
            }
        )
    else:
        print(f"The image {image.recipe_hash} (kernel {image.kernel}) is in {image.path}.")
        print(f"Where KVM does not run it, {qemu} does.")


@app.command()
def up(
    clock: Annotated[Clock, typer.Option(help="Clock of the host.")] = Clock.VIRTUAL,
    accel: Annotated[str, typer.Option(help="auto, kvm or tcg.")] = "auto",
    qemu: Annotated[Path | None, typer.Option(help="A QEMU of your own.")] = None,
    memory_mib: Annotated[int, typer.Option(help="Memory of the host in MiB.")] = 3072,
    cpus: Annotated[int, typer.Option(help="CPUs of the host.")] = 2,
    port: Annotated[int, typer.Option(help="Port of its sshd on 127.0.0.1; 0: a free one.")] = 0,
    idle_sec: Annotated[
        float, typer.Option(help="It ends after so many seconds without a client.")
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
    told = embedded.up(settings, preparation=preparation(), progress=_say)
    if as_json:
        _print_json(told)
    else:
        print(_paragraph(told))


@app.command()
def status(as_json: AsJson = False) -> None:
    """Tell which embedded hosts run."""
    hosts = embedded.status()
    if as_json:
        image = embedded.find_image()
        _print_json({"image": image.path if image else None, "hosts": hosts})
    elif not hosts:
        print("No embedded host runs.")
    else:
        print("\n\n".join(_paragraph(host) for host in hosts))


@app.command()
def console(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    run_dir: Which = None,
) -> None:
    """Print the log of a host's serial console."""
    path = Path(_one_host(run_dir)["console"])
    with path.open("rb") as log:
        while True:
            sys.stdout.buffer.write(log.read())
            sys.stdout.flush()
            if not follow or not path.exists():
                return
            time.sleep(0.2)


@app.command(context_settings={"ignore_unknown_options": True})
def ssh(
    command: Annotated[list[str] | None, typer.Argument(help="What to run there.")] = None,
    run_dir: Which = None,
) -> None:
    """Open a shell on a host, or run a command there."""
    host = _one_host(run_dir)
    argv = embedded.ssh_argv(Path(host["run_dir"]), int(host["port"]), *(command or ()))
    sys.stdout.flush()
    os.execvp(argv[0], argv)


@app.command()
def down(
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that notebooks and runs have started.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """End the shared host."""
    ended = embedded.down(everything=everything)
    if as_json:
        _print_json({"ended": ended})
    elif ended:
        print("\n".join(f"The host in {run_dir} has ended." for run_dir in ended))
    else:
        print("No shared embedded host was up." if not everything else "No embedded host ran.")


def _one_host(run_dir: Path | None) -> dict[str, Any]:
    """The host that is meant: the one named, the shared one, or the only one.

    Raises:
        HostUnreachable: there is none, or it cannot be told which.
    """
    hosts = embedded.status()
    if run_dir is not None:
        hosts = [host for host in hosts if Path(host["run_dir"]) == run_dir]
    shared = [host for host in hosts if host["shared"]]
    chosen = shared or hosts
    if len(chosen) != 1:
        found = "no embedded host runs" if not chosen else f"{len(chosen)} embedded hosts run"
        raise HostUnreachable(
            f"One host was needed, and {found}{' there' if run_dir else ''}.",
            todo="Start one with `kvmlab host up`, or name one of `kvmlab host status` by "
            "--run-dir.",
        )
    if "port" not in chosen[0]:
        raise HostUnreachable(str(chosen[0].get("error", "The host does not answer.")))
    return chosen[0]


def _paragraph(host: dict[str, Any]) -> str:
    """One host for people."""
    kind = "shared" if host["shared"] else f"started by process {host['owner_pid']}"
    lines = [f"Embedded host ({kind}): {host['label']}"]
    if "error" in host:
        lines.append(f"  does not answer: {host['error']}")
        return "\n".join(lines)
    if host["died"]:
        lines.append(f"  DIED: {host['died']['message']}")
    lines += [
        f"  came up: {host['how']} ({host['up_sec']:.1f} s)",
        f"  {host['qemu']}",
        f"  {host['accel'].upper()}: {host['accel_reason']}",
        f"  ssh: 127.0.0.1 port {host['port']}, key {host['key']}",
        f"  console: {host['console']}",
        f"  in use by: {host['holder'] or 'nobody'}",
    ]
    return "\n".join(lines)
