"""Footprint of kvmlab: the time of `import kvmlab`, the memory of the embedded host.

Memory is the proportional set size of the QEMU process, right after the host was restored, and
after the test VM has sent and received for a second.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import kvmlab
from bench._harness import ROOT, Bench, alternate, repeats
from kvmlab.process import run


def main(argv: Sequence[str] | None = None) -> None:
    """Measure ``--count`` imports, and one host."""
    count = repeats(15, argv)
    bench = Bench("footprint", "import time and memory")

    def python(name: str, code: str) -> None:
        began = time.monotonic()
        run((sys.executable, "-c", code), timeout_sec=60, cwd=ROOT)
        bench.add(name, 1000 * (time.monotonic() - began), "ms")

    alternate(
        count,
        lambda block: python("python alone", "pass"),
        lambda block: python("import kvmlab", "import kvmlab"),
        lambda block: python("import kvmlab, open_lab named", "from kvmlab import open_lab"),
    )
    bench.ratio("import kvmlab over python alone", "import kvmlab", "python alone")
    trials = kvmlab.Trials(count=1, workloads=("tcp_up", "tcp_down"), trace_path=False)
    with kvmlab.open_lab("embedded") as lab:
        bench.notes["host"] = lab.host.emulated or lab.host.label
        bench.add("embedded host, restored", _memory_mib(lab.host.emulator_pid), "MiB")
        with lab.plan(kvmlab.Virtio(backend="vhost")).applied(lab.vm) as nic:
            lab.measure(nic, trials)
        bench.add("embedded host, after traffic", _memory_mib(lab.host.emulator_pid), "MiB")
    bench.add("kvmlab's own process", _memory_mib(None), "MiB")
    bench.finish()


def _memory_mib(pid: int | None) -> float:
    text = Path(f"/proc/{pid or 'self'}/smaps_rollup").read_text(encoding="ascii")
    match = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(match[1]) / 1024 if match else 0.0


if __name__ == "__main__":
    main()
