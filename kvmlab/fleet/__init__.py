"""Fleet: the same notebooks, measurements and checks on many hosts, scheduled by dask."""

from kvmlab.fleet.host_job import HostJob, HostOutcome, Status
from kvmlab.fleet.inventory import FleetHost, cuts_by_host, read_inventory, select
from kvmlab.fleet.matrix import write_matrix
from kvmlab.fleet.rollout import FleetRecord, Rollout, load_record

__all__ = [
    "FleetHost",
    "FleetRecord",
    "HostJob",
    "HostOutcome",
    "Rollout",
    "Status",
    "cuts_by_host",
    "load_record",
    "read_inventory",
    "select",
    "write_matrix",
]
