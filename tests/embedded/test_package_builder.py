"""Builds from Debian packages: where they come from, and what is recorded of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kvmlab.embedded import emulator, image_recipe, package_builder
from kvmlab.embedded.apt_sources import machine_sources

SOURCES = f"deb http://mirror.example/debian {image_recipe.SUITE} main\n"
ELSEWHERE = "this machine's apt sources have no trixie: packages come from a mirror of Debian"
STATUS = """\
Package: gcc
Status: install ok installed
Version: 4:14.2.0-1

Package: gone
Status: deinstall ok config-files
Version: 1
"""
#: Does with its last words and hooks what mmdebstrap does, for a root of three files.
MMDEBSTRAP = """\
#!/usr/bin/python3 -I
import io, json, pathlib, sys, tarfile
here = pathlib.Path(__file__).parent
words = sys.argv[1:]
last = pathlib.Path(words[-1])
mirror = last.read_text() if last.is_file() else ""
(here / "seen.json").write_text(json.dumps({"words": words, "mirror": mirror}))
for word in words:
    hook = word.removeprefix("--customize-hook=").split()
    if hook[0] == "tar-out":
        with tarfile.open(hook[2], "w") as archive:
            for name, text in (("version", "1:10.0\\n"), ("usr/bin/qemu-system-x86_64", "program")):
                member = tarfile.TarInfo(f"./kvmlab-out/{name}")
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
    elif hook[0] == "copy-out":
        assert hook[1] == "/var/lib/dpkg/status"
        pathlib.Path(hook[2], "status").write_text((here / "status").read_text())
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a tool in the place of mmdebstrap; the cache and work space are here."""
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "mmdebstrap").write_text(MMDEBSTRAP)
    (folder / "mmdebstrap").chmod(0o755)
    (folder / "status").write_text(STATUS)
    (tmp_path / "sources.list.d").mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("KVMLAB_SHARED_CACHE", str(tmp_path / "nothing"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(
        package_builder, "machine_sources", lambda suite: machine_sources(suite, tmp_path)
    )
    monkeypatch.setattr(package_builder, "_check_space", lambda *words: None)
    monkeypatch.setattr(os, "sync", lambda: None)  # of all disks of the machine
    return folder


@pytest.mark.parametrize(
    ("sources", "mirror", "sentence"),
    [
        (SOURCES, SOURCES, "packages come from this machine's apt sources of trixie"),
        (SOURCES.replace(image_recipe.SUITE, "bookworm"), "", ELSEWHERE),
        ("", "", ELSEWHERE),
    ],
)
def test_a_build_takes_this_machines_sources_where_they_serve_its_suite(
    tools: Path, tmp_path: Path, sources: str, mirror: str, sentence: str
) -> None:
    (tmp_path / "sources.list").write_text(sources)
    sentences: list[str] = []
    emulator.build_emulator(progress=sentences.append)
    seen = json.loads((tools / "seen.json").read_text())
    assert seen["mirror"] == mirror
    assert [one for one in sentences if "apt sources" in one] == [sentence]
    suite = seen["words"].index(image_recipe.SUITE)
    assert len(seen["words"][suite:]) == (3 if mirror else 2), "no mirror of kvmlab's choice"


def test_the_versions_of_all_packages_of_a_build_are_recorded(tools: Path, tmp_path: Path) -> None:
    built = emulator.build_emulator()
    assert built.packages == {"gcc": "4:14.2.0-1"}
    assert built.version == "1:10.0"
    manifest = json.loads((built.path / "manifest.json").read_text())
    assert manifest["suite"] == image_recipe.SUITE
    assert sorted(path.name for path in built.path.iterdir()) == ["manifest.json", "qemu"]
    assert emulator.find_emulator() == built


def test_an_emulator_of_an_older_version_has_no_packages(tools: Path) -> None:
    built = emulator.build_emulator()
    path = built.path / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["packages"]
    path.write_text(json.dumps(manifest))
    built.path.with_name(f"{built.path.name}.seals.json").unlink()
    older = emulator.find_emulator()
    assert older is not None
    assert older.packages == {}
