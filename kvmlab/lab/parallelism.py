"""The number of embedded hosts that measure at a time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from kvmlab.capacity import available_memory_mib, idle_cpus, usable_cpus
from kvmlab.clock import Clock
from kvmlab.errors import UsageError
from kvmlab.hosts import HostKind

if TYPE_CHECKING:
    from kvmlab.hosts import Host
    from kvmlab.measure import Trials

#: How many hosts work at a time where no number is named.
JOBS_VARIABLE: Final = "KVMLAB_JOBS"
# A host with its VM while traffic runs, and a margin for this machine.
_HOST_MIB: Final = 600
_SPARE_MIB: Final = 1000


def default_jobs(host: Host, trials: Trials) -> int:
    """Return how many hosts measure a comparison's blocks at a time, as `usual_jobs`.

    Never more than there are blocks, or, unless the variable KVMLAB_JOBS says so, than the CPUs
    that are idle can serve: a further host costs CPU time before it measures. One where figures
    would depend on the machine's load: under the wall clock, on a real host.

    Raises:
        UsageError: the variable KVMLAB_JOBS is no whole number from 1 on.
    """
    if host.kind is not HostKind.EMBEDDED or host.clock is not Clock.VIRTUAL:
        return 1
    jobs = usual_jobs()
    if jobs > 1 and not os.environ.get(JOBS_VARIABLE):
        jobs = max(1, min(jobs, _hosts_for(idle_cpus())))
    return min(jobs, trials.count) if trials.until_percent is None else jobs


def usual_jobs() -> int:
    """Return the number in the variable KVMLAB_JOBS, or as many hosts as fit this machine.

    Raises:
        UsageError: the variable is no whole number from 1 on.
    """
    text = os.environ.get(JOBS_VARIABLE, "")
    if not text:
        return jobs_that_fit()
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(
            f"{JOBS_VARIABLE}={text} is no number of hosts.", todo="Use 1, 2, 3 …, or unset it."
        )
    return int(text)


def jobs_that_fit() -> int:
    """Return how many embedded hosts this machine can run side by side: CPUs and memory allow."""
    in_memory = (available_memory_mib() - _SPARE_MIB) // _HOST_MIB
    return max(1, min(_hosts_for(usable_cpus()), in_memory))


def _hosts_for(cpus: int) -> int:
    """Return how many hosts keep so many CPUs busy: three for two, since each waits now and then.

    ``python -m bench walk_jobs`` and ``run_all`` measured it (docs/parallel.md).
    """
    return cpus + cpus // 2
