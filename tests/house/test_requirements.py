"""pyproject.toml is the one source; the locks and environment.yml agree with it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCKS = ("requirements.lock", "requirements-test.lock")


def project(repository: Path) -> dict[str, list[Requirement]]:
    """Return requirements by extra; the run-time ones under ""."""
    table = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"": table["dependencies"], **table["optional-dependencies"]}
    return {extra: [Requirement(text) for text in texts] for extra, texts in groups.items()}


def locked(path: Path) -> dict[str, str]:
    """Name -> version of a lock."""
    text = path.read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==([^ \\]+)", text, re.MULTILINE))


@pytest.mark.parametrize("name", LOCKS)
def test_lock_holds_names_versions_and_hashes_only(repository: Path, name: str) -> None:
    entry = re.compile(r"[a-z0-9._-]+==\S+( ; [^\\]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?")
    lines = (repository / name).read_text(encoding="utf-8").splitlines()
    strange = [line for line in lines if not entry.fullmatch(line)]
    assert not strange, f"{name} holds more than names, versions and hashes: {strange[:5]}"


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_a_hash(repository: Path, name: str) -> None:
    lines = (repository / name).read_text(encoding="utf-8").splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        assert "==" not in line or "--hash" in following, f"{name}: {line}"


def test_locks_satisfy_pyproject(repository: Path) -> None:
    groups = project(repository)
    for name, extras in (("requirements.lock", ("", "build")), ("requirements-test.lock", groups)):
        versions = locked(repository / name)
        for extra in extras:
            for requirement in groups[extra]:
                version = versions.get(canonicalize_name(requirement.name))
                assert version, f"{requirement.name} is not in {name}; run .ci/lock."
                assert requirement.specifier.contains(version), f"{requirement}: {version} locked"


def test_tests_run_on_what_is_installed_to_run(repository: Path) -> None:
    run_time, test = (locked(repository / name) for name in LOCKS)
    assert run_time.items() <= test.items()


def test_environment_yml_is_pyproject(repository: Path) -> None:
    text = (repository / "environment.yml").read_text(encoding="utf-8")
    environment = yaml.safe_load(text)
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    [pip] = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip[-1] == "--editable ."
    listed = {str(Requirement(entry)) for entry in [*conda, *pip[:-1]]}
    groups = project(repository)
    wanted = {str(requirement) for requirement in groups[""] + groups["build"]}
    assert listed - wanted == {"pip", "python<3.14,>=3.11"}
    assert wanted <= listed
