"""Settings, locks, messages and run directories."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from kvmlab import directories, errors
from kvmlab.clock import Clock
from kvmlab.embedded import client, messages
from kvmlab.embedded.accelerator import Accel
from kvmlab.embedded.host_config import HostConfig
from kvmlab.embedded.machine import console_tail
from kvmlab.embedded.qemu import Qemu
from kvmlab.embedded.resolver import check_architecture
from kvmlab.embedded.settings import Settings
from kvmlab.file_locks import FileLock, is_locked

QEMU = Qemu(("/q",), (), Path("/q"), (10, 0, 13), "10.0.13", "image", "abc")


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return directories.runtime_dir()


def config(run_dir: Path, **settings: object) -> HostConfig:
    return HostConfig(
        run_dir=run_dir,
        states=Path("/states"),
        images=Path("/images"),
        image=Path("/images/abc"),
        image_hash="abc",
        qemu=QEMU,
        accel=Accel("tcg", "asked for"),
        settings=Settings(**{"clock": Clock.WALL, **settings}),  # type: ignore[arg-type]
        preparation="p",
        owner_pid=os.getpid(),
        owner="pytest",
    )


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"accel": "xen"}, "xen"),
        ({"clock": Clock.VIRTUAL, "accel": "kvm"}, "virtual clock"),
        ({"memory_mib": 512}, "512 MiB"),
        ({"cpus": 0}, "0 CPUs"),
        ({"ssh_port": 80}, "port 80"),
    ],
)
def test_bad_settings_say_what_was_found(wrong: dict[str, object], word: str) -> None:
    with pytest.raises(errors.UsageError, match=word) as caught:
        Settings(**wrong)  # type: ignore[arg-type]
    assert caught.value.todo


def test_other_architectures_are_refused() -> None:
    check_architecture("x86_64")
    with pytest.raises(errors.Unavailable, match="this one is aarch64") as caught:
        check_architecture("aarch64")
    assert caught.value.rule == "embedded-architecture"


def test_the_virtual_clock_has_one_cpu() -> None:
    assert Settings(clock=Clock.VIRTUAL, cpus=4).cpus_used == 1


def test_a_configuration_survives_its_file(tmp_path: Path) -> None:
    written = config(tmp_path, clock=Clock.VIRTUAL, qemu=Path("/my/qemu"), idle_sec=5.0)
    written.write()
    assert HostConfig.read(tmp_path) == written
    assert written.label == "QEMU 10.0.13, TCG, 1 CPU, virtual clock"


def test_the_state_key_does_not_depend_on_where_or_how_long(tmp_path: Path) -> None:
    facts = config(tmp_path / "a", ssh_port=2000, idle_sec=1.0).facts()
    assert facts == config(tmp_path / "b").facts()
    assert facts != config(tmp_path / "a", memory_mib=2048).facts()


def test_a_lock_is_free_when_its_holder_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        "import sys, time; from pathlib import Path; from kvmlab.file_locks import FileLock;"
        f"lock = FileLock.take(Path({str(path)!r})); print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        assert FileLock.take(path) is None
        assert is_locked(path)
        with pytest.raises(errors.EmbeddedError, match="the lock for a test"):
            FileLock.wait_for(path, timeout_sec=0.2, what="a test", error=errors.EmbeddedError)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    lock = FileLock.take(path)
    assert lock is not None
    lock.close()


@pytest.mark.parametrize(
    "kind", [errors.HostBusy, errors.MachineDied, errors.UsageError, errors.StateUnfit]
)
def test_errors_travel_whole(kind: type[errors.KvmlabError]) -> None:
    sent = kind("what", todo="do", evidence="line\n")
    body = messages.decode(messages.encode(messages.error_message(sent)))["error"]
    received = messages.to_error(body)
    assert type(received) is kind
    assert (received.message, received.todo, received.evidence) == ("what", "do", "line\n")


def test_a_kind_that_does_not_travel_arrives_as_its_nearest_parent() -> None:
    assert messages.error_message(errors.HostRefused("no"))["error"]["kind"] == "HostError"
    assert messages.error_message(ValueError("x"))["error"]["kind"] == "EmbeddedError"


@pytest.mark.parametrize("line", [b"{", b"[]", b"\xff"])
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(errors.EmbeddedError):
        messages.decode(line)


def test_a_deep_run_directory_is_no_obstacle_for_a_unix_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    with socket.socket(socket.AF_UNIX) as listener, messages.short_path(deep) as address:
        listener.bind(address)
    assert (deep / messages.SOCKET).is_socket()


def test_only_dead_hosts_are_swept(runtime: Path) -> None:
    (runtime / "ssh-abc").mkdir()
    dead = runtime / "own-dead"
    dead.mkdir()
    config(dead).write()
    living = runtime / "own-living"
    living.mkdir()
    config(living).write()
    lock = FileLock.take(living / "lock")
    assert lock is not None
    assert [running.run_dir for running in client.running_hosts()] == [living]
    assert not dead.exists()
    assert (runtime / "ssh-abc").exists()
    lock.close()
    assert client.running_hosts() == ()


def test_a_supervisor_that_has_ended_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(errors.HostUnreachable, match="does not answer"):
        client.Connection(tmp_path)


def test_a_supervisor_whose_host_cannot_start_leaves_no_run_directory(runtime: Path) -> None:
    # No image and no QEMU are there: the supervisor starts, and the lease fails with a sentence.
    owned = client.start_supervisor(config(Path()), shared=False)
    connection = owned.host.connect()
    with pytest.raises(errors.KvmlabError):
        connection.request("lease", command="test")
    connection.close()
    owned.close()
    assert [entry.name for entry in runtime.iterdir()] == ["lock"]


def test_a_supervisor_that_crashes_is_quoted(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONFAULTHANDLER", "1")
    owned = client.start_supervisor(config(Path(), idle_sec=1.0), shared=False)
    assert owned.log_tail() == ""
    os.kill(owned.host.request("status")["supervisor_pid"], signal.SIGABRT)
    assert owned.log_tail().startswith("Fatal Python error: Aborted")
    with pytest.raises(errors.HostUnreachable, match="does not answer"):
        owned.host.request("status")
    owned.close()
    assert client.running_hosts() == ()
    assert [entry.name for entry in runtime.iterdir()] == ["lock"]


def test_a_directory_of_somebody_else_is_refused() -> None:
    if os.geteuid() == 0:
        pytest.skip("root owns everything here")
    with pytest.raises(errors.UsageError):
        directories.private_dir(Path("/proc"))


def test_a_console_is_shown_without_its_escapes(tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    console.write_bytes(b"\x1bc\x1b[?7l\x1b[2JSeaBIOS\r\n\r\n[    4.2] kvm\r\n\xff last\n")
    assert console_tail(console) == "SeaBIOS\n[    4.2] kvm\n\ufffd last\n"
    assert console_tail(tmp_path / "missing") == ""
