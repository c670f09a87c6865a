"""Locales, umasks, homes and owners of every kind: one sentence, or no difference."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from kvmlab.results import save
from tests.results.builders import result

#: A name in ASCII, a character map, and the locale's source.
LOCALES = {
    "de_DE.ISO-8859-1": ("ISO-8859-1", "de_DE"),
    "zh_CN.GBK": ("GBK", "zh_CN"),
    "tr_TR.UTF-8": ("UTF-8", "tr_TR"),
}
ENCODINGS = {"C": "utf-8", "POSIX": "utf-8", "de_DE.ISO-8859-1": "latin-1", "zh_CN.GBK": "gbk"}
NAMES = ("grün", "測試 µ")
MAPS, SOURCES = Path("/usr/share/i18n/charmaps"), Path("/usr/share/i18n/locales")


@pytest.fixture(scope="module")
def locales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with these locales, which no machine need have installed."""
    folder = tmp_path_factory.mktemp("locales")
    if shutil.which("localedef") is None or not (SOURCES / "tr_TR").exists():
        pytest.skip("there are no sources of locales here (Debian: locales)")
    for name, (charmap, source) in LOCALES.items():
        text = gzip.decompress((MAPS / f"{charmap}.gz").read_bytes())
        (folder / charmap).write_bytes(text)
        words = ("localedef", "-c", "-f", folder / charmap, "-i", SOURCES / source, folder / name)
        subprocess.run(words, capture_output=True, check=False)
        assert (folder / name / "LC_CTYPE").exists()
    return folder


def kvmlab(
    *words: str, cwd: Path, environment: Mapping[str, str], umask: int = 0o022
) -> subprocess.CompletedProcess[bytes]:
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))
    }
    repository = Path(__file__).resolve().parents[2]
    env |= {"PYTHONPATH": str(repository), "COLUMNS": "200", **environment}
    done = subprocess.run(
        (sys.executable, "-m", "kvmlab", *words),
        cwd=cwd,
        env=env,
        umask=umask,
        capture_output=True,
        timeout=100,
    )
    assert b"Traceback" not in done.stdout + done.stderr, done.stderr.decode(errors="replace")
    return done


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name in NAMES:
        save([result()], tmp_path / "runs" / name)
    return tmp_path


@pytest.mark.parametrize("name", ["C", *LOCALES])
def test_locales(runs: Path, locales: Path, name: str) -> None:
    environment = {"LC_ALL": name, "LOCPATH": str(locales), "XDG_CACHE_HOME": str(runs / "cache")}
    encoding = ENCODINGS.get(name, "utf-8")
    listed = kvmlab("runs", cwd=runs, environment=environment)
    assert listed.returncode == 0
    assert "gr" in listed.stdout.decode(encoding)
    document = json.loads(
        kvmlab("runs", "--json", cwd=runs, environment=environment).stdout.decode(encoding)
    )
    # As the locale reads the bytes of the names.
    expected = {
        name.encode().decode(encoding, "surrogateescape").encode(errors="backslashreplace").decode()
        for name in NAMES
    }
    assert {run["name"] for run in document} == expected
    page = runs / "page.html"
    assert (
        kvmlab("compare", *NAMES, "--html", str(page), cwd=runs, environment=environment).returncode
        == 0
    )
    assert encoding != "utf-8" or NAMES[1] in page.read_text(encoding="utf-8")
    assert "against" in page.read_text(encoding="utf-8")
    wrong = kvmlab("compare", "fehlt", "grün", cwd=runs, environment=environment)
    assert wrong.returncode == 2
    assert "There is no run `fehlt`" in wrong.stderr.decode(encoding)


@pytest.mark.parametrize("umask", [0o000, 0o777, 0o277])
def test_umasks(tmp_path: Path, umask: int) -> None:
    """Folders are this user's alone, and usable, whatever the umask is."""
    cache = tmp_path / "cache"
    places = {"XDG_CACHE_HOME": str(cache), "XDG_RUNTIME_DIR": str(tmp_path / "none")}
    for _ in range(2):
        assert (
            kvmlab("host", "status", cwd=tmp_path, umask=umask, environment=places).returncode == 0
        )
    for folder in (cache / "kvmlab", cache / "kvmlab" / "run"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_home_that_cannot_be_written(runs: Path) -> None:
    places = {"HOME": "/proc/nobody", "XDG_CACHE_HOME": "", "XDG_RUNTIME_DIR": ""}
    assert kvmlab("runs", cwd=runs, environment=places).returncode == 0
    refused = kvmlab("host", "status", cwd=runs, environment=places)
    assert refused.returncode == 2
    message = refused.stderr.decode()
    assert message.startswith("The directory /proc/nobody/.cache/kvmlab cannot be used")
    assert "XDG_CACHE_HOME" in message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "XDG_RUNTIME_DIR"])
def test_folders_of_another_user(tmp_path: Path, variable: str) -> None:
    """As where two users of a machine share a home, or one has set the other's variables."""
    folder = tmp_path / "theirs" / "kvmlab"
    folder.mkdir(parents=True)
    os.chown(folder, 12345, 12345)
    places = {"XDG_CACHE_HOME": str(tmp_path / "mine"), "XDG_RUNTIME_DIR": str(tmp_path / "mine")}
    refused = kvmlab(
        "host", "status", cwd=tmp_path, environment={**places, variable: str(folder.parent)}
    )
    assert refused.returncode == 2
    message = refused.stderr.decode()
    assert "belongs to user 12345" in message
    assert variable in message
