"""Scripts that run on hosts and in images are linted as code is."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from kvmlab.hosts import script_text

PRELUDE = Path("kvmlab/hosts/scripts")
# Why a warning is left out, by folder: a changed file there is a new image, or a new QEMU.
LEFT_OUT = {
    "kvmlab/embedded/emulator_files": ("SC2164",),  # run by `sh -eu`
    "kvmlab/embedded/files": ("SC2231",),  # names of PCI addresses
}


def scripts(repository: Path, shebang: str, suffix: str) -> list[Path]:
    """Return the files below kvmlab/ with that suffix, or without one and with that first line."""
    files = [path for path in (repository / "kvmlab").rglob("*") if path.is_file()]
    return sorted(
        path.relative_to(repository)
        for path in files
        if path.suffix == suffix
        or (not path.suffix and path.read_bytes().startswith(shebang.encode()))
    )


def test_shell_scripts_are_linted(repository: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("there is no shellcheck here; `./lab test` installs it")
    names = scripts(repository, "#!/bin/sh", ".sh")
    assert len(names) > 20
    recipes = (repository / "docs" / "recipes").glob("*.sh")
    names += sorted(path.relative_to(repository) for path in recipes)
    warnings = shellcheck(repository, "-x", "-P", str(PRELUDE), *(str(name) for name in names))
    warnings += shellcheck(repository, "-s", "bash", "lab", ".ci/lock", ".ci/run", ".ci/systems")
    assert not warnings, "\n".join(warnings)


def shellcheck(repository: Path, *options: str) -> list[str]:
    """Return the warnings that are not left out."""
    words = ("shellcheck", "-f", "gcc", *(() if "-s" in options else ("-s", "sh")), *options)
    output = subprocess.run(words, cwd=repository, capture_output=True, text=True).stdout
    return [
        line
        for line in output.splitlines()
        if not any(
            line.startswith(place) and any(f"[{code}" in line for code in codes)
            for place, codes in LEFT_OUT.items()
        )
    ]


def test_perl_programs_compile(repository: Path) -> None:
    names = scripts(repository, "#!/usr/bin/perl", ".pl")
    assert names
    for name in names:
        done = subprocess.run(
            ("perl", "-c", "-w", str(name)), cwd=repository, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == f"{name} syntax OK\n"


def test_no_function_is_in_two_scripts(repository: Path) -> None:
    bodies: dict[str, str] = {}
    for name in scripts(repository, "#!/bin/sh", ".sh"):
        text = (repository / name).read_text(encoding="utf-8")
        for function in re.findall(r"^\w+\(\) \{.*?^\}", text, re.MULTILINE | re.DOTALL):
            body = " ".join(re.sub(r"#.*", "", function.partition("{")[2]).split())
            assert bodies.setdefault(body, str(name)) == str(name), (
                f"{bodies[body]} and {name} share a function; put it into {PRELUDE}/prelude.sh."
            )


def test_scripts_that_ask_for_the_prelude_get_it() -> None:
    text = script_text("kvmlab.facts", "read_host.sh")
    assert text.startswith("# Print everything")
    assert "\nsection() {" in text
    assert "./prelude.sh" not in text.replace('". ./prelude.sh"', "")
