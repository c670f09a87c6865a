"""Scripts that run on hosts and in images are linted as code is."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from kvmlab.hosts import script_text
from tests.house.tree import modules

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


#: Functions of the prelude and of meters.pl that look who has the number before they send a signal.
SIGNALS = ("signal_process() {", "signal_group() {", "if (runs()) {", 'kill "KILL", $$')
#: A command of a shell or a perl script; a word of a message has something else before it.
SENDS = re.compile(
    r"""(?:^|[;&|(){]|\bthen|\bdo|\belse|\|\||!|\bexec)\s*(p?kill|killall|skill)\b"""
)
FUSER = re.compile(r"\bfuser\b.*-\w*k")


def unchecked_kills(text: str) -> list[str]:
    """Return the lines of a script that send a signal without a look at who has the number."""
    lines = [re.sub(r"(^|\s)#.*", "", line) for line in text.splitlines()]
    return [
        line.strip()
        for line in lines
        if (SENDS.search(line) or FUSER.search(line)) and not any(one in line for one in SIGNALS)
    ]


def test_no_script_kills_a_number_that_may_be_somebody_elses(repository: Path) -> None:
    names = scripts(repository, "#!/bin/sh", ".sh") + scripts(repository, "#!/usr/bin/perl", ".pl")
    names += [path.relative_to(repository) for path in (repository / "docs/recipes").glob("*.sh")]
    unchecked = {
        str(name): unchecked_kills((repository / name).read_text("utf-8")) for name in names
    }
    assert not {name: lines for name, lines in unchecked.items() if lines}, (
        f"Use signal_process of {PRELUDE}/prelude.sh, which looks at the process's start time."
    )


@pytest.mark.parametrize(
    "line",
    [
        'kill "$pid"',
        '    [ -z "$pid" ] || kill "$pid" 2>/dev/null',
        "trap 'x' EXIT; kill -TERM \"-$server\"",
        "kill -0 $pid && exit",
        '[ -z "$watcher" ] || pkill -P "$watcher"',
        'case $words in "tcpdump -i "*) kill "${path#/proc/}" ;; esac',
        'kill "TERM", -$server;',
        "fuser -sk /dev/kvm",
    ],
)
def test_a_kill_without_the_check_is_found(line: str) -> None:
    assert unchecked_kills(f"{line}\nread_start $!\nsignal_process TERM 1 2 # kill\n") == [
        line.strip()
    ]


def test_no_module_kills_a_number_that_may_be_somebody_elses() -> None:
    """A child that was not waited for keeps its number; this process and its group have theirs."""
    for module in modules():
        checked = {
            id(call)
            for branch in ast.walk(module.tree)
            if isinstance(branch, ast.If)
            and re.search(r"\.(returncode|poll\(\)) is None", ast.unparse(branch.test))
            for statement in branch.body
            for call in ast.walk(statement)
        }
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"os.kill", "os.killpg"}:
                own = ast.unparse(node.args[0]) in {"os.getpid()", "os.getpgrp()"}
                assert own or id(node) in checked, module.where(node)
            # A command by its words, or as a line of a shell.
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in {"kill", "pkill", "killall"}, module.where(node)
                is_kill = re.search(r"(?:^|[;&|])\s*p?kill (-|\$|$)", node.value)
                assert not is_kill or '" != "$began" ] || kill $pid' in node.value, module.where(
                    node
                )


def test_scripts_that_ask_for_the_prelude_get_it() -> None:
    text = script_text("kvmlab.facts", "read_host.sh")
    assert text.startswith("# Print everything")
    assert "\nsection() {" in text
    assert "./prelude.sh" not in text.replace('". ./prelude.sh"', "")
