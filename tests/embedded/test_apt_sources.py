"""Apt sources of this machine: used where they are Debian's own, signed, of the suite."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from kvmlab.embedded.apt_sources import machine_sources

DATA = Path(__file__).parents[1] / "data" / "apt"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DEB822 = f"""\
Types: deb deb-src
# http://snapshot.example/archive
URIs: http://mirror.example/debian
Suites: trixie trixie-updates
Components: main contrib
Signed-By: {KEYRING}

Types: deb
URIs: http://mirror.example/debian-security/
Suites: trixie-security
Components: main
Signed-By:
 {KEYRING}
"""


#: Machines as installers and images leave them: the folder of tests/data/apt, and the mirrors that
#: serve each suite.
SERVED: Final[dict[str, dict[str, set[str]]]] = {
    "bookworm": {"bookworm": {"deb.debian.org"}, "trixie": set()},
    "bookworm-one-line": {
        "bookworm": {"ftp.de.debian.org", "security.debian.org"},
        "trixie": set(),
    },
    "trixie": {"bookworm": set(), "trixie": {"deb.debian.org"}},
    # Half-way from one to the other: the suite's own lines only.
    "upgrading": {
        "bookworm": {"ftp.de.debian.org", "security.debian.org"},
        "trixie": {"ftp.de.debian.org", "security.debian.org"},
    },
    # Which suite that is changes under the build.
    "stable": {"bookworm": set(), "trixie": set()},
    "noble": {"bookworm": set(), "trixie": set()},
}


def apt(folder: Path, **files: str) -> Path:
    (folder / "sources.list.d").mkdir()
    for name, text in files.items():
        path = folder / "sources.list.d" / name.replace("_", ".")
        path.write_text(text)
    return folder


def test_deb822_as_debian_installs_it(tmp_path: Path) -> None:
    assert machine_sources("trixie", apt(tmp_path, debian_sources=DEB822)).splitlines() == [
        f"deb [signed-by={KEYRING}] http://mirror.example/debian trixie main contrib",
        f"deb [signed-by={KEYRING}] http://mirror.example/debian trixie-updates main contrib",
        f"deb [signed-by={KEYRING}] http://mirror.example/debian-security/ trixie-security main",
    ]
    assert machine_sources("bookworm", tmp_path) == ""


def test_one_line_sources(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(
        "deb http://mirror.example/debian trixie main # ours\n"
        "deb-src http://mirror.example/debian trixie main\n"
    )
    assert machine_sources("trixie", tmp_path) == "deb http://mirror.example/debian trixie main\n"


@pytest.mark.parametrize(
    "line",
    [
        "deb [trusted=yes] http://mirror.example/debian trixie main",
        "deb [allow-insecure=yes] http://mirror.example/debian trixie main",
        "deb [arch=arm64] http://mirror.example/debian trixie main",
        "deb http://docker.example/linux/debian trixie stable",
        "deb [signed-by=/etc/apt/keyrings/x.gpg] http://x.example/debian trixie main",
        "deb http://pgdg.example/debian trixie-pgdg main",
        "deb http://x.example/packages trixie main",
        "deb cdrom:[Debian]/ trixie main",
        "# deb http://mirror.example/debian trixie main",
        "deb http://mirror.example/debian trixie-updates main",
        "deb",
    ],
)
def test_what_does_not_serve(tmp_path: Path, line: str) -> None:
    assert machine_sources("trixie", apt(tmp_path, some_list=line + "\n")) == ""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Types: deb deb-src", "Types: deb-src"),
        ("Types: deb deb-src", "Enabled: no\nTypes: deb"),
        ("Types: deb deb-src", "Trusted: yes\nTypes: deb"),
        (f"Signed-By: {KEYRING}\n", "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n"),
    ],
)
def test_deb822_that_does_not_serve(tmp_path: Path, old: str, new: str) -> None:
    text = DEB822.replace(old, new)
    assert machine_sources("trixie", apt(tmp_path, debian_sources=text)) == ""


@pytest.mark.parametrize("machine", SERVED)
@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_a_machine_serves_its_own_suite_and_no_other(machine: str, suite: str) -> None:
    sources = machine_sources(suite, DATA / machine).splitlines()
    words = [line.partition("] ")[2] or line.removeprefix("deb ") for line in sources]
    assert {urlsplit(line.split()[0]).hostname for line in words} == SERVED[machine][suite]
    assert all(line.split()[1].startswith(suite) for line in words)
    assert not sources or any(line.split()[1] == suite for line in words)
