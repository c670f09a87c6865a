"""The script that puts a port back, on a /sys of folders and an `ip` that renames them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from kvmlab.hosts import script_text

ADDRESS = "0000:05:00.0"
IP = """#!/bin/sh
echo "$*" >>{root}/calls
case "$*" in
"link set dev "*" name "*)
    mv {root}/sys/bus/pci/devices/{address}/net/$4 {root}/sys/bus/pci/devices/{address}/net/$6
    mv {root}/sys/class/net/$4 {root}/sys/class/net/$6 ;;
esac
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a host whose function is bound to its driver already."""
    device = tmp_path / "sys/bus/pci/devices" / ADDRESS
    driver = tmp_path / "sys/bus/pci/drivers/mlx4_core"
    for folder in (device / "net", driver, tmp_path / "bin"):
        folder.mkdir(parents=True)
    (device / "driver").symlink_to(driver)
    program = tmp_path / "bin/ip"
    program.write_text(IP.format(root=tmp_path, address=ADDRESS))
    program.chmod(0o755)
    return tmp_path


def add_interface(root: Path, name: str, mac: str) -> None:
    (root / "sys/bus/pci/devices" / ADDRESS / "net" / name).mkdir()
    folder = root / "sys/class/net" / name
    folder.mkdir(parents=True)
    (folder / "address").write_text(f"{mac}\n")


def put_back(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    text = script_text("kvmlab.changes", "put_port_back.sh")
    text = re.sub(r"/sys/", f"{root}/sys/", text).replace("now + 2000", "now + 100")
    return subprocess.run(
        ("sh", "-s", "--", ADDRESS, "mlx4_core", "-", *words),
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={"PATH": f"{root}/bin:{os.environ['PATH']}"},
    )


FIRST, SECOND = "02:00:00:00:00:03", "02:00:00:00:00:04"
BOTH = ("ens2", "-", "up", "1500", FIRST, "+", "ens2d1", "down", "9000", SECOND, "192.0.2.7/24")


@pytest.mark.parametrize("names", [("eth0", "eth1"), ("eth1", "eth0"), ("ens2d1", "ens2")])
def test_both_interfaces_of_a_function_come_back(root: Path, names: tuple[str, str]) -> None:
    add_interface(root, names[0], FIRST)
    add_interface(root, names[1], SECOND)
    # Where the names are there the other way round, the MACs are set: names are what is asked for.
    completed = put_back(root, *BOTH)
    assert completed.returncode == 0, completed.stderr
    assert {path.name for path in (root / "sys/class/net").iterdir()} == {"ens2", "ens2d1"}
    if names[0].startswith("eth"):
        assert (root / "sys/class/net/ens2/address").read_text().strip() == FIRST
    calls = (root / "calls").read_text().splitlines()
    assert "link set dev ens2d1 mtu 9000" in calls
    assert calls[-1] == "address replace 192.0.2.7/24 dev ens2d1"


def test_an_interface_that_is_not_named_is_left_alone(root: Path) -> None:
    add_interface(root, "ens2", FIRST)
    add_interface(root, "ens2d1", SECOND)
    completed = put_back(root, "ens2", "-", "up", "1500", FIRST)
    assert completed.returncode == 0, completed.stderr
    assert "ens2d1" not in (root / "calls").read_text()


def test_one_that_does_not_come_is_named(root: Path) -> None:
    add_interface(root, "eth0", FIRST)
    completed = put_back(root, *BOTH)
    assert completed.returncode == 4
    assert "ens2d1" in completed.stderr
