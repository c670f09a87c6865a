"""Live migrations to host B and back: the spread of downtime, hole and elapsed time.

Each kind of NIC migrates ``--count`` times under ``--traffic``, one after another on one host. All
times are of the hosts' virtual clock, but for the walls.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench._harness import Bench
from kvmlab import open_lab
from kvmlab.migration import KINDS, MemoryLoad, MigrationOptions, needs_vfs


def main(argv: Sequence[str] | None = None) -> None:
    """``--count`` migrations of each of ``--nic``, under ``--traffic``, with ``--remedy``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--nic", nargs="+", choices=KINDS, default=["virtio-vhost", "vf-teaming"])
    parser.add_argument("--traffic", default="answers")
    parser.add_argument("--remedy", default="")
    parser.add_argument("--bandwidth-mib", type=int)
    parser.add_argument("--downtime-ms", type=int)
    parser.add_argument("--auto-converge", action="store_true")
    parser.add_argument("--post-copy", action="store_true")
    parser.add_argument("--parallel", type=int, help="connections of multifd")
    parser.add_argument("--write-mib", type=int, default=0, help="MiB/s that the VM writes")
    parser.add_argument("--working-set-mib", type=int, default=64)
    chosen, _ = parser.parse_known_args(argv)
    options = MigrationOptions(
        bandwidth_mib=chosen.bandwidth_mib,
        downtime_ms=chosen.downtime_ms,
        auto_converge=chosen.auto_converge,
        post_copy=chosen.post_copy,
        parallel=chosen.parallel,
    )
    load = MemoryLoad(chosen.write_mib, chosen.working_set_mib) if chosen.write_mib else None
    bench = Bench("migration_spread", "live migrations inside one embedded host")
    with tempfile.TemporaryDirectory() as out, open_lab("embedded", out=Path(out)) as lab:
        vfs = any(map(needs_vfs, chosen.nic))
        with lab.second_host(with_vfs=vfs) as there:
            for kind in chosen.nic:
                with lab.plan_migratable(kind).applied(lab.vm) as nic:
                    for _ in range(chosen.count):
                        started = time.monotonic()
                        plan = lab.plan_migration(there, options=options)
                        one = lab.migrate(
                            plan, nic, traffic=chosen.traffic, remedy=chosen.remedy, load=load
                        )
                        bench.add(f"{kind}: downtime", one.downtime_ms, "ms")
                        bench.add(f"{kind}: hole", one.hole_ms, "ms")
                        bench.add(f"{kind}: lost", one.lost, "packets")
                        bench.add(f"{kind}: elapsed", one.elapsed_ms, "ms")
                        bench.add(f"{kind}: moved", one.transferred_bytes / 2**20, "MiB")
                        bench.add(f"{kind}: rounds", one.rounds, "rounds")
                        bench.add(f"{kind}: throttle", one.throttle_percent, "%")
                        bench.add(f"{kind}: written", one.written_mib_per_sec, "MiB/s")
                        bench.add(f"{kind}: there and back", time.monotonic() - started, "s")
    bench.finish()
