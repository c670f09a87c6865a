"""A class on one server (docs/classroom.md): JupyterHub with a limited seat for each Unix user.

    jupyterhub -f docs/recipes/jupyterhub_config.py        as root, in an environment that has
                                                           jupyterhub beside kvmlab's packages

KVMLAB_CLONE is the clone that all seats use, readable for everybody.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jupyterhub.spawner import LocalProcessSpawner

#: JupyterHub's configuration, which it passes to this file by this name.
c: Any = globals()["c"]
CLONE = Path(os.environ.get("KVMLAB_CLONE", "/srv/kvmlab"))
#: Limits of one seat: its server, its kernels and its embedded host together.
SEAT_MIB = int(os.environ.get("KVMLAB_SEAT_MIB", "1800"))
SEAT_CPUS = float(os.environ.get("KVMLAB_SEAT_CPUS", "1"))
_CGROUPS = Path("/sys/fs/cgroup")
_PERIOD_US = 100_000


class SeatSpawner(LocalProcessSpawner):
    """A single-user server in a cgroup of its own, with all that it starts."""

    async def start(self) -> tuple[str, int]:
        """Start it, and put it into its cgroup before it starts a kernel."""
        address: tuple[str, int] = await super().start()
        _put_into_cgroup(self.user.name, self.pid)
        return address


def _put_into_cgroup(user: str, pid: int) -> None:
    """Limit memory and CPU time of a process, under cgroups of version 2 or 1."""
    quota_us = int(SEAT_CPUS * _PERIOD_US)
    if (_CGROUPS / "cgroup.controllers").exists():
        seats = _CGROUPS / "kvmlab-seats"
        seats.mkdir(exist_ok=True)
        for folder in (_CGROUPS, seats):
            (folder / "cgroup.subtree_control").write_text("+memory +cpu")
        _limit(
            seats / user,
            pid,
            {"memory.max": f"{SEAT_MIB}M", "cpu.max": f"{quota_us} {_PERIOD_US}"},
        )
        return
    _limit(
        _CGROUPS / "memory" / "kvmlab-seats" / user,
        pid,
        {"memory.limit_in_bytes": f"{SEAT_MIB}M"},
    )
    _limit(
        _CGROUPS / "cpu" / "kvmlab-seats" / user,
        pid,
        {"cpu.cfs_period_us": str(_PERIOD_US), "cpu.cfs_quota_us": str(quota_us)},
    )


def _limit(cgroup: Path, pid: int, limits: dict[str, str]) -> None:
    cgroup.mkdir(parents=True, exist_ok=True)
    for name, value in limits.items():
        (cgroup / name).write_text(value)
    (cgroup / "cgroup.procs").write_text(str(pid))


c.JupyterHub.spawner_class = SeatSpawner
c.JupyterHub.bind_url = os.environ.get("KVMLAB_HUB", "http://127.0.0.1:8000")
c.Authenticator.allow_all = True  # whoever has a login on this server
c.Spawner.cmd = [str(CLONE / "docs" / "recipes" / "jupyterhub_seat.sh")]
c.Spawner.default_url = "/lab/tree/00-packet-path.ipynb"
c.Spawner.start_timeout = 120
c.Spawner.http_timeout = 120
# One host for each seat: the other seats are the parallelism.
c.Spawner.environment = {"KVMLAB_JOBS": "1", "KVMLAB_CLONE": str(CLONE)}
c.Spawner.env_keep.extend(["KVMLAB_LANGUAGE", "KVMLAB_SHARED_CACHE", "PYTHONPATH"])
