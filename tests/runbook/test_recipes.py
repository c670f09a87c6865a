"""The recipes of docs/recipes: run as they are, with a notebook that needs no host."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from kvmlab.cli import answer
from kvmlab.deadline import until
from kvmlab.errors import HostUnreachable
from kvmlab.results import save
from tests.report import builders
from tests.runbook.builders import notebook

Out = pytest.CaptureFixture[str]

MEASURE = """
from pathlib import Path
from kvmlab.results import save
from tests.report.builders import result
save([result("virtio-qemu", "virtio", {mbps}, [100.0] * 4, 0.4)], Path(OUT) / "now")
"""
STEADY = (100.0, 101.0, 99.0, 100.5)
SLOWER = (80.0, 81.0, 79.0, 80.5)


@pytest.fixture(scope="module")
def recipes(repository: Path) -> Path:
    return repository / "docs" / "recipes"


@pytest.fixture
def clone(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a clone whose ./lab is kvmlab, with a run ``runs/baseline`` and two notebooks."""
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "clone"
    folder.mkdir()
    (folder / "lab").write_text(f'#!/bin/sh\nexec {sys.executable} -m kvmlab "$@"\n')
    (folder / "lab").chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", str(repository))
    for name, mbps in (("steady", STEADY), ("slower", SLOWER)):
        notebook(folder / f"{name}.ipynb", [MEASURE.format(mbps=mbps)])
    steady = builders.result("virtio-qemu", "virtio", STEADY, [100.0] * 4, 0.4)
    save([steady], folder / "runs" / "baseline")
    return folder


def run(folder: Path, script: str, *, code: int, **environment: str) -> str:
    """Run a script as a job does, see how it ends, and return what it prints."""
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def nightly(clone: Path, recipes: Path, name: str, *, code: int) -> str:
    (clone / "textfiles").mkdir(exist_ok=True)
    environment = {
        "KVMLAB": str(clone),
        "NOTEBOOK": f"{name}.ipynb",
        "TEXTFILES": str(clone / "textfiles"),
    }
    return run(clone, str(recipes / "nightly.sh"), code=code, **environment)


def test_the_night_is_gated_and_its_figures_are_exported(clone: Path, recipes: Path) -> None:
    nightly(clone, recipes, "steady", code=0)
    time.sleep(1.1)  # runs are named by the second
    printed = nightly(clone, recipes, "slower", code=1)
    assert "tcp_up_mbps" in printed
    text = (clone / "textfiles" / "kvmlab.prom").read_text()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["kvmlab_gate_passed"].samples[0].value == 0
    assert [sample.value for sample in families["kvmlab_gate_failed"].samples].count(1) >= 1
    assert len([*(clone / "runs").iterdir()]) == 3


def test_a_night_that_fails_says_why_and_ends_with_its_code(clone: Path, recipes: Path) -> None:
    assert "no notebook" in nightly(clone, recipes, "missing", code=2).lower()


def test_node_exporter_serves_the_figures(clone: Path) -> None:
    program = shutil.which("prometheus-node-exporter") or shutil.which("node_exporter")
    if program is None:
        pytest.skip("node_exporter is not installed")
    (clone / "textfiles").mkdir()
    gate = "./lab gate baseline baseline --openmetrics textfiles/kvmlab.prom"
    run(clone, gate, code=0)
    argv = [program, "--collector.disable-defaults", "--collector.textfile"]
    argv += [f"--collector.textfile.directory={clone / 'textfiles'}"]
    argv += ["--web.listen-address=127.0.0.1:19117"]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as exporter:
        try:
            page = until(
                lambda: scraped("http://127.0.0.1:19117/metrics"),
                timeout_sec=30,
                every_sec=0.2,
                what="node_exporter",
                error=HostUnreachable,
            )
        finally:
            exporter.terminate()
    assert re.search(r"^kvmlab_median\{.*virtio-qemu.*\} ", page, re.MULTILINE)
    assert "node_textfile_scrape_error 0" in page


def scraped(url: str) -> str:
    try:
        with urllib.request.urlopen(url) as answered:
            return str(answered.read().decode())
    except OSError:
        return ""


def test_the_steps_of_the_ci_job_run(clone: Path, recipes: Path) -> None:
    job = yaml.safe_load((recipes / "workflow.yml").read_text())["jobs"]["measure"]
    measure, compare = (step["run"] for step in job["steps"] if "run" in step)
    assert answer([*shlex.split(measure)[1:], "--dry-run"]) == 0, "as it is, with its notebook"
    run(clone, measure.replace(" 01 ", " slower.ipynb "), code=0)
    run(clone, compare, code=1)
    report = (clone / "junit.xml").read_text()
    assert 'failures="' in report
    kept = job["steps"][-1]["with"]["path"].split()
    assert all((clone / path).exists() for path in kept)


def words_of(texts: list[str]) -> list[list[str]]:
    """Return the words of the commands `./lab …`, with what the scheduler fills in."""
    filled = [re.sub(r"\{\{.*?\}\}", "2026", text) for text in texts]
    return [shlex.split(text)[1:] for text in filled]


def assert_understood(words: list[str], capsys: Out) -> None:
    """See that `kvmlab` has the command and all of its options."""
    assert answer([*words, "--help"]) == 0, words
    assert answer([*words, "--no-such-option", "--help"]) == 2
    capsys.readouterr()


def test_the_commands_of_airflow_are_kvmlabs(recipes: Path, capsys: Out) -> None:
    tree = ast.parse((recipes / "airflow_dag.py").read_text())
    texts = [
        str(ast.literal_eval(keyword.value))
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword)
        for keyword in [node]
        if keyword.arg == "bash_command"
    ]
    assert len(texts) == 3
    for words in words_of(texts):
        assert_understood(words, capsys)


def test_the_templates_of_argo_fit_together(recipes: Path, capsys: Out) -> None:
    document = yaml.safe_load((recipes / "argo.yaml").read_text())
    assert (document["apiVersion"], document["kind"]) == ("argoproj.io/v1alpha1", "CronWorkflow")
    spec: dict[str, Any] = document["spec"]["workflowSpec"]
    templates = {template["name"]: template for template in spec["templates"]}
    steps = [step for group in templates[spec["entrypoint"]]["steps"] for step in group]
    for step in steps:
        template = templates[step["template"]]
        values = {each["name"]: each["value"] for each in step["arguments"]["parameters"]}
        assert set(values) == {each["name"] for each in template["inputs"]["parameters"]}
        (command,) = template["container"]["args"]
        for name, value in values.items():
            command = command.replace("{{inputs.parameters." + name + "}}", value)
        (words,) = words_of([command])
        assert_understood(words, capsys)
    mounts = {mount["name"] for mount in templates["lab"]["container"]["volumeMounts"]}
    assert mounts == {volume["name"] for volume in spec["volumes"]}


def test_ansible_takes_the_playbook(recipes: Path, tmp_path: Path) -> None:
    program = shutil.which("ansible-playbook")
    if program is None:
        pytest.skip("Ansible is not installed")
    argv = [program, "-i", "kvm1,", "--syntax-check", str(recipes / "playbook.yml")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_commands_of_the_playbook_are_kvmlabs(recipes: Path, capsys: Out) -> None:
    (play,) = yaml.safe_load((recipes / "playbook.yml").read_text())
    commands = [
        task["ansible.builtin.command"]["argv"]
        for task in play["tasks"]
        if "ansible.builtin.command" in task
    ]
    assert len(commands) == 3
    for command in commands:
        words = re.findall(r"'([-a-z]+)'", command)
        # An option that takes a value gets one.
        takes = {"--host": "embedded", "--trials": "3", "--out": "x"}
        filled = [part for word in words for part in (word, takes.get(word)) if part]
        assert_understood(filled, capsys)
