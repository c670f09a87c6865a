"""The embedded host itself: restored, killed, shared, two at once, damaged; nothing left behind.

These tests keep their own states and run directories and share the image. The first one needs a
cold boot; all others begin with a restore of about a second.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from kvmlab import deadline, embedded, process
from kvmlab.clock import Clock
from kvmlab.embedded import Lease, Preparation, Settings, client
from kvmlab.embedded.emulator import build_emulator
from kvmlab.embedded.resolver import choose_machine
from kvmlab.embedded.svm_probe import injects_once
from kvmlab.errors import HostBusy, KvmlabError, MachineDied

pytestmark = [pytest.mark.host, pytest.mark.minutes(3), pytest.mark.timeout(400)]

MARK = "/run/kvmlab-test-was-here"


def prepare(lease: Lease) -> None:
    """Leave a file in the host's memory that a restore must bring back."""
    ssh(lease, "touch", "/run/prepared")


PREPARATION = Preparation("tests of the embedded host", prepare)


def ssh(lease: Lease, *command: str, check: bool = True) -> str:
    return process.run(lease.ssh_argv(*command), timeout_sec=60, check=check).stdout


def collect_progress() -> tuple[list[str], Callable[[str], None]]:
    lines: list[str] = []
    return lines, lines.append


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """States and run directories of these tests alone; image and emulator are the user's."""
    built = (embedded.build_image().path.parent, build_emulator().path.parent)
    cache = tmp_path_factory.mktemp("embedded")
    (cache / "kvmlab").mkdir(mode=0o700)
    for shelf in built:
        (cache / "kvmlab" / shelf.name).symlink_to(shelf)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        patch.setenv("XDG_RUNTIME_DIR", str(cache))
        patch.delenv(embedded.ENVIRONMENT, raising=False)
        yield cache / "kvmlab"
        embedded.down(everything=True)


@pytest.fixture(autouse=True)
def nothing_left(home: Path) -> Iterator[None]:
    """Whatever a test does, no host, process or run directory outlives it."""
    yield
    remaining = leftovers(home)
    embedded.down(everything=True)
    assert remaining == []


def leftovers(home: Path) -> list[str]:
    """Return processes and directories of these tests' hosts, after the time that ending takes."""

    def remaining() -> list[str]:
        names = [path.name for path in home.iterdir() if path.name.startswith(("own-", "shared"))]
        for running in psutil.process_iter(["cmdline"]):
            words = running.info["cmdline"] or []
            if any(str(home) in word for word in words) and running.pid != os.getpid():
                names.append(f"process {running.pid}: {' '.join(words)[:80]}")
        return names

    try:
        deadline.until(lambda: not remaining(), timeout_sec=15, what="Ending")
    except KvmlabError:
        return remaining()
    return []


def acquire(**settings: object) -> Lease:
    return embedded.acquire(Settings(**settings), preparation=PREPARATION)  # type: ignore[arg-type]


def died(lease: Lease) -> None:
    lease.check()


def qemu_pid(lease: Lease) -> int:
    (host,) = (h for h in embedded.status() if h["run_dir"] == str(lease.run_dir))
    return int(host["qemu_pid"])


def child(code: str) -> subprocess.Popen[str]:
    """Start a client in a process of its own, which prints what it does line by line."""
    start = """
        import signal, sys, time
        from kvmlab import embedded
        signal.signal(signal.SIGINT, signal.default_int_handler)
        def prepare(lease): raise SystemExit("a saved state was expected")
        PREPARATION = embedded.Preparation("tests of the embedded host", prepare)
    """
    text = textwrap.dedent(start) + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-u", "-c", text],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def line_of(running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None
    line = running.stdout.readline().strip()
    assert line, running.stderr and running.stderr.read()
    return line


def test_of_three_that_start_at_once_one_boots_and_two_are_restored(home: Path) -> None:
    """All three run at the same time: who waited does not keep the next one waiting."""
    all_up = threading.Barrier(3)

    def start(_: int) -> tuple[str, list[str]]:
        lines, progress = collect_progress()
        settings = Settings(clock=Clock.VIRTUAL)
        with embedded.acquire(settings, preparation=PREPARATION, progress=progress) as lease:
            all_up.wait(timeout=240)
            return lease.how, lines

    with ThreadPoolExecutor(3) as pool:
        ends = [*pool.map(start, range(3))]
    assert sorted(how.split()[0] for how, _ in ends) == ["cold", "restored", "restored"]
    waiting = "another process is preparing the saved state; waiting for it"
    assert sum(waiting in lines for _, lines in ends) == 2
    for state in home.glob("states/*/"):  # the next test begins without one as well
        shutil.rmtree(state)


@pytest.mark.parametrize("clock", [Clock.WALL, Clock.VIRTUAL])
def test_a_cold_boot_is_said_and_saved_and_the_next_start_is_a_restore(clock: Clock) -> None:
    settings = Settings(clock=clock)
    lines, progress = collect_progress()
    with embedded.acquire(settings, preparation=PREPARATION, progress=progress) as lease:
        assert lease.how.startswith("cold boot: there is no saved state")
        assert lease.how.endswith("now saved")
        assert "preparing the host" in lines
        assert f"kvmlab.clock={clock}" in ssh(lease, "cat", "/proc/cmdline")
        cold_sec = lease.up_sec
        assert ssh(lease, "ls", "/run/prepared")
    lines, progress = collect_progress()
    with embedded.acquire(settings, preparation=PREPARATION, progress=progress) as lease:
        assert lease.how.startswith("restored")
        assert lease.clock is clock
        assert lines == []
        assert lease.up_sec * 5 < cold_sec
        assert ssh(lease, "ls", "/run/prepared")


@pytest.mark.parametrize("clock", [Clock.WALL, Clock.VIRTUAL])
def test_where_kvm_does_not_run_it_interrupts_are_delivered_once(clock: Clock, home: Path) -> None:
    image = embedded.build_image().path
    settings = Settings(clock=clock, accel="tcg")
    qemu, accel = choose_machine(settings, image, progress=lambda line: None)
    assert accel.name == "tcg"
    assert injects_once(qemu)


def test_keys_are_private_and_the_host_is_known(home: Path) -> None:
    with acquire() as lease:
        assert lease.run_dir.stat().st_mode & 0o777 == 0o700
        assert lease.key_path.stat().st_mode & 0o777 == 0o600
        assert all(file.stat().st_mode & 0o077 == 0 for file in home.glob("states/*/*"))
        pin = lease.known_hosts.read_text()
        assert pin.startswith(f"[127.0.0.1]:{lease.port} ssh-ed25519 ")
        # Another key in its place: ssh refuses to talk.
        other = lease.key_path.with_suffix(".pub").read_text().split()[1]
        lease.known_hosts.write_text(f"[127.0.0.1]:{lease.port} ssh-ed25519 {other}\n")
        with pytest.raises(KvmlabError, match="exit code 255"):
            ssh(lease, "true")
        lease.known_hosts.write_text(pin)
        listening = process.run(("ss", "-Hltn", f"sport = :{lease.port}"), timeout_sec=10).stdout
        assert [row.split()[3] for row in listening.splitlines()] == [f"127.0.0.1:{lease.port}"]


def test_it_has_the_articles_inventory(home: Path) -> None:
    with acquire() as lease:
        nics = ssh(lease, "lspci", "-D", "-d", "::0200").splitlines()
        assert [line.split()[0] for line in nics if "Virtio" not in line] == [
            "0000:04:00.0",
            "0000:04:00.1",
            "0000:05:00.0",
            "0000:0b:00.0",
            "0000:0b:00.1",
        ]
        ssh(lease, "for p in 0 1; do echo 7 >/sys/bus/pci/devices/0000:0b:00.$p/sriov_numvfs; done")
        vfs = ssh(lease, "lspci", "-d", "8086:10ca").splitlines()
        assert len(vfs) == 14
        assert (vfs[0].split()[0], vfs[-1].split()[0]) == ("0b:10.0", "0b:11.5")
        groups = ssh(
            lease, "cd /sys/kernel/iommu_groups; for g in *; do echo $(ls $g/devices); done"
        )
        assert "0000:04:00.0 0000:04:00.1" in groups.splitlines()
        assert "0000:0b:00.0" in groups.splitlines()
        assert ssh(lease, "ls", "/dev/kvm")
        assert "virbr" in ssh(lease, "virsh net-list --all >/dev/null && echo virbr")


def test_the_cable_to_the_peer_works(home: Path) -> None:
    with acquire() as lease:
        ssh(lease, "ip address add 192.0.2.9/24 dev p2p1")
        answer = ssh(lease, "ping -c 2 -i 0.2 -W 5 192.0.2.1", check=False)
        assert "2 received" in answer


def test_a_saved_state_is_never_written(home: Path) -> None:
    ram = newest_state(home) / "ram"
    before = ram.stat()
    with acquire() as lease:
        maps = Path("/proc", str(qemu_pid(lease)), "maps").read_text()
        assert {line.split()[1] for line in maps.splitlines() if str(ram) in line} == {"rw-p"}
        ssh(lease, f"dd if=/dev/urandom of={MARK} bs=1M count=8 2>/dev/null; sync")
    after = ram.stat()
    assert (after.st_mtime_ns, after.st_blocks) == (before.st_mtime_ns, before.st_blocks)
    with acquire() as lease:
        assert ssh(lease, "ls /run/kvmlab* 2>/dev/null; ls /run/prepared") == "/run/prepared\n"


def test_killing_the_client_ends_its_host(home: Path) -> None:
    running = child(
        """
        lease = embedded.acquire(preparation=PREPARATION)
        print(embedded.status()[0]["qemu_pid"])
        time.sleep(300)
        """
    )
    with running:
        pid = int(line_of(running))
        assert psutil.pid_exists(pid)
        running.kill()
        running.wait()
        deadline.until(lambda: not psutil.pid_exists(pid), timeout_sec=10, what="QEMU's end")
    assert leftovers(home) == []


@pytest.mark.parametrize("after_sec", [0.05, 0.3, 0.5, 0.7, 0.9, 1.2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_client_stopped_at_any_moment_leaves_nothing(
    home: Path, after_sec: float, number: signal.Signals
) -> None:
    running = child(
        """
        print("started")
        lease = embedded.acquire(preparation=PREPARATION)
        time.sleep(300)
        """
    )
    with running:
        line_of(running)
        time.sleep(after_sec)
        running.send_signal(number)
        running.wait(20)
        assert running.returncode != 0
    assert leftovers(home) == []


def test_a_killed_supervisor_takes_qemu_with_it(home: Path) -> None:
    lease = acquire()
    pid = qemu_pid(lease)
    supervisor = int(embedded.status()[0]["supervisor_pid"])
    os.kill(supervisor, signal.SIGKILL)
    deadline.until(lambda: not psutil.pid_exists(pid), timeout_sec=10, what="QEMU's end")
    with pytest.raises(MachineDied, match="supervisor is gone"):
        lease.check()
    lease.release()
    assert embedded.status() == []


def test_a_killed_qemu_is_reported_with_its_console(home: Path) -> None:
    with acquire() as lease:
        lease.check()
        ssh(lease, "echo the last words >/dev/console")
        started = time.monotonic()
        os.kill(qemu_pid(lease), signal.SIGKILL)
        with pytest.raises(KvmlabError):
            ssh(lease, "sleep 100")
        with pytest.raises(MachineDied, match="was killed by SIGKILL") as caught:
            deadline.until(lambda: died(lease), timeout_sec=60, what="The report")
        assert "the last words" in caught.value.evidence
        assert time.monotonic() - started < 60
        assert "died" in str(embedded.status())


def test_two_hosts_side_by_side(home: Path) -> None:
    with acquire() as first, acquire() as second:
        assert first.port != second.port
        assert first.run_dir != second.run_dir
        ssh(first, "touch", MARK)
        assert ssh(second, f"ls {MARK} 2>&1; true").startswith("ls: cannot access")
        assert ssh(first, "ls", MARK)
        assert len(embedded.status()) == 2


def newest_state(home: Path) -> Path:
    """Return the state of the default settings: they were saved last."""
    return max(home.glob("states/*/state.json"), key=lambda path: path.stat().st_mtime).parent


def test_a_port_that_is_taken_is_said(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(KvmlabError, match=f"Port {port} of 127.0.0.1 is used") as caught:
            acquire(ssh_port=port)
    assert "0 for any free one" in caught.value.todo


@pytest.mark.parametrize("name", ["ram", "content"])
def test_a_damaged_state_means_a_cold_boot_and_is_replaced(home: Path, name: str) -> None:
    state = newest_state(home)
    if name == "content":
        # A description that fits files that do not load.
        broken = b"QEVM" + bytes(1000)
        (state / "device.state").write_bytes(broken)
        text = (state / "state.json").read_text()
        start = text.index('"device.state": "') + len('"device.state": "')
        end = text.index('"', start)
        seal = f"{len(broken)} {hashlib.sha256(broken).hexdigest()}"
        (state / "state.json").write_text(text[:start] + seal + text[end:])
    else:
        os.truncate(state / name, 4096)
    lines, progress = collect_progress()
    with embedded.acquire(preparation=PREPARATION, progress=progress) as lease:
        assert lease.how.startswith("cold boot: the saved state was no good and is removed")
        assert lines[0].startswith("cold boot: ")
        assert "\n" not in lines[0]
    with acquire() as lease:
        assert lease.how.startswith("restored")


def test_a_shared_host_serves_one_client_at_a_time_and_each_finds_it_clean(home: Path) -> None:
    assert embedded.up(preparation=PREPARATION)["shared"]
    holder = child(
        f"""
        lease = embedded.acquire(preparation=PREPARATION)
        import subprocess
        subprocess.run(lease.ssh_argv("touch", {MARK!r}), check=True)
        print(lease.shared)
        time.sleep(300)
        """
    )
    with holder:
        assert line_of(holder) == "True"
        with pytest.raises(HostBusy, match=f"process {holder.pid} .*since") as caught:
            acquire()
        assert "host down" in caught.value.todo
        holder.kill()
        holder.wait()
    deadline.until(
        lambda: not embedded.status()[0]["leaseholder"], timeout_sec=60, what="The end of the lease"
    )
    with acquire() as lease:
        assert lease.shared
        assert ssh(lease, "ls /run/kvmlab* 2>/dev/null; ls /run/prepared") == "/run/prepared\n"
        ssh(lease, "touch", MARK)
    # Given back as clean by its holder: left as it is.
    with acquire() as lease:
        assert ssh(lease, "ls", MARK)
        with pytest.raises(HostBusy, match="this very process"):
            acquire()
        lease.release(clean=False)
    with acquire() as lease:
        assert ssh(lease, "ls /run/kvmlab* 2>/dev/null; true") == ""
    # It outlives its clients, also when QEMU does not.
    os.kill(int(embedded.status()[0]["qemu_pid"]), signal.SIGKILL)
    deadline.until(lambda: embedded.status()[0]["died"], timeout_sec=60, what="Noticing the end")
    with acquire() as lease:
        assert ssh(lease, "ls", "/run/prepared")
    assert embedded.down() == [str(home / "shared")]
    assert embedded.status() == []


def test_a_shared_host_ends_when_nobody_uses_it(home: Path) -> None:
    embedded.up(Settings(idle_sec=1.0), preparation=PREPARATION)
    deadline.until(lambda: not embedded.status(), timeout_sec=10, what="The end of an idle host")


def test_children_of_a_run_share_its_host(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with embedded.hold(preparation=PREPARATION) as run_host:
        for name, value in run_host.environment.items():
            monkeypatch.setenv(name, value)
        pids = []
        for _ in range(2):
            with child(
                """
                with embedded.acquire(preparation=PREPARATION) as lease:
                    print(embedded.status()[0]["qemu_pid"], lease.shared)
                """
            ) as running:
                pids.append(line_of(running))
                assert running.wait(20) == 0
        assert pids[0] == pids[1]
        assert pids[0].endswith("True")
        # A kernel that is killed leaves the host to be cleaned for the next one.
        with child(
            f"""
            lease = embedded.acquire(preparation=PREPARATION)
            import subprocess
            subprocess.run(lease.ssh_argv("touch", {MARK!r}), check=True)
            print("there")
            time.sleep(300)
            """
        ) as running:
            line_of(running)
            running.kill()
        with embedded.acquire(preparation=PREPARATION) as lease:
            assert ssh(lease, "ls /run/kvmlab* 2>/dev/null; true") == ""
    with pytest.raises(MachineDied, match="of this run"):
        acquire()


def test_a_hung_supervisor_does_not_hang_its_client(home: Path) -> None:
    lease = acquire()
    supervisor = int(embedded.status()[0]["supervisor_pid"])
    os.kill(supervisor, signal.SIGSTOP)
    connection = client.Connection(lease.run_dir)
    with pytest.raises(KvmlabError, match="did not answer `status` within 1 s"):
        connection.request("status", timeout_sec=1)
    connection.close()
    os.kill(supervisor, signal.SIGCONT)
    lease.release()
