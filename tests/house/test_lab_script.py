"""./lab: what it asks for, what it says when something is missing, and that it does nothing twice.

The script runs for real, in a clone that holds only what it reads, with a PATH of chosen programs:
links to this machine's, and small stand-ins for apt-get, sudo, pip and Python.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

LINKED = (
    *("awk", "basename", "bash", "cat", "chmod", "cp", "cut", "dirname", "env", "flock", "grep"),
    *("head", "mkdir", "readlink", "rm", "sed", "sh", "sha256sum", "tail", "tee", "touch", "tr"),
)
PYTHON = """\
#!/bin/sh
case "$1 $2" in
    "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip") echo "$*" >>"$CALLS"; echo "$PIP_SAYS"; exit "${PIP_ENDS:-0}" ;;
    "-m kvmlab") shift 2; echo "kvmlab: $*" ;;
    "-V ") echo "Python 3.11.9" ;;
esac
"""


@dataclass
class Clone:
    """A clone with programs of its own."""

    directory: Path
    programs: Path
    calls: Path

    def program(self, name: str, text: str = "#!/bin/sh\n") -> None:
        """Put a stand-in into the PATH."""
        (self.programs / name).unlink(missing_ok=True)
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def lab(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run ./lab with a plain environment and no terminal."""
        return subprocess.run(
            self.command(words),
            env=self.environment(environment),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def command(self, words: Sequence[str]) -> list[str]:
        """Return the argv of ./lab."""
        return [str(self.programs / "bash"), str(self.directory / "lab"), *words]

    def environment(self, more: dict[str, str]) -> dict[str, str]:
        """Return an environment that names nothing of this machine but the chosen programs."""
        home = self.directory.parent
        plain = {
            "PATH": str(self.programs),
            "HOME": str(home),
            "KVMLAB_SHARED_CACHE": str(home / "shared"),  # This machine may have an image for all.
        }
        plain |= {"CALLS": str(self.calls), "KVMLAB_PYTHON": str(self.programs / "python-whole")}
        return plain | more


@pytest.fixture
def clone(tmp_path: Path, repository: Path) -> Clone:
    """Return a clone on a machine that has everything and an ordinary user."""
    directory, programs = tmp_path / "clone", tmp_path / "programs"
    directory.mkdir()
    programs.mkdir()
    for name in ("lab", "pyproject.toml", "requirements.lock", "requirements-test.lock"):
        shutil.copy(repository / name, directory / name)
    for name in LINKED:
        program = shutil.which(name)
        assert program, f"{name} is not on this machine"
        (programs / name).symlink_to(program)
    clone = Clone(directory, programs, tmp_path / "calls")
    clone.program("id", '#!/bin/sh\necho "${USER_ID:-1000}"\n')
    clone.program("df", '#!/bin/sh\nprintf "h\\n/dev/x 1 1 ${FREE_KIB:-99999999} 1%% /\\n"\n')
    clone.program("python-whole", PYTHON)
    for name in ("gcc", "pkg-config", "ssh", "apt-get", "sudo"):
        clone.program(name)
    return clone


def pip_calls(clone: Clone) -> int:
    return len(clone.calls.read_text().splitlines()) if clone.calls.exists() else 0


def test_script_is_sound(repository: Path) -> None:
    checker = ["shellcheck"] if shutil.which("shellcheck") else ["bash", "-n"]
    for name in ("lab", ".ci/run", ".ci/lock"):
        done = subprocess.run(
            [*checker, str(repository / name)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert os.access(repository / name, os.X_OK), f"{name} is not executable"


def test_sets_up_once_and_passes_words_on(clone: Clone) -> None:
    first = clone.lab("status", "two words")
    assert (first.returncode, first.stdout) == (0, "kvmlab: status two words\n"), first.stderr
    assert "Making the Python environment" in first.stderr
    assert pip_calls(clone) == 3  # setuptools, all packages, kvmlab itself
    assert "--require-hashes" in clone.calls.read_text()

    again = clone.lab("status")
    assert (again.returncode, again.stderr) == (0, "")
    assert pip_calls(clone) == 3


def test_new_lock_or_python_or_place_makes_a_new_environment(clone: Clone) -> None:
    clone.lab("status")
    with (clone.directory / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")
    assert "Making the Python environment" in clone.lab("status").stderr
    python = clone.directory / ".venv" / "bin" / "python"
    python.write_text(python.read_text().replace("3.11.9", "3.13.1"))
    assert "Making the Python environment" in clone.lab("status").stderr
    moved = clone.directory.rename(clone.directory.with_name("moved"))
    elsewhere = Clone(moved, clone.programs, clone.calls)
    assert "Making the Python environment" in elsewhere.lab("status").stderr


def test_changed_pyproject_only_reinstalls_kvmlab(clone: Clone) -> None:
    clone.lab("status")
    with (clone.directory / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    again = clone.lab("status")
    assert again.returncode == 0
    assert "Making" not in again.stderr
    assert pip_calls(clone) == 4


def test_failed_set_up_is_done_anew(clone: Clone) -> None:
    failed = clone.lab("status", PIP_SAYS="OSError: [Errno 28] No space left", PIP_ENDS="1")
    assert failed.returncode == 1
    assert "the disk is full" in failed.stderr
    mended = clone.lab("status")
    assert mended.returncode == 0
    assert "Making the Python environment" in mended.stderr


@pytest.mark.parametrize(
    ("pip_says", "sentence"),
    [
        ("<urlopen error: Temporary failure in name resolution>", "index does not answer"),
        ("ERROR: No matching distribution (from versions: none)", "index does not answer"),
        ("THESE PACKAGES DO NOT MATCH THE HASHES FROM", "not the one that was locked"),
        ("error: command 'gcc' failed", "All that pip said is in"),
    ],
)
def test_failure_of_pip_is_a_sentence(clone: Clone, pip_says: str, sentence: str) -> None:
    done = clone.lab("status", PIP_SAYS=pip_says, PIP_ENDS="1")
    assert done.returncode == 1
    assert sentence in done.stderr
    assert f"lab:   | {pip_says}" in done.stderr


def test_missing_package_without_a_way_to_ask(clone: Clone) -> None:
    (clone.programs / "ssh").unlink()
    clone.program("sudo", "#!/bin/sh\nexit 1\n")
    done = clone.lab("status")
    assert done.returncode == 2
    assert "openssh-client           reaches hosts" in done.stderr
    assert "apt-get install -y --no-install-recommends openssh-client\n" in done.stderr
    assert not (clone.directory / ".venv").exists()


def test_missing_packages_are_installed_as_root(clone: Clone) -> None:
    (clone.programs / "ssh").unlink()
    clone.program("apt-get", '#!/bin/sh\necho "apt-get $*" >>"$CALLS"\n')
    done = clone.lab("status", USER_ID="0")
    assert done.returncode == 0, done.stderr
    update, install, *_ = clone.calls.read_text().splitlines()
    assert update == "apt-get -qq update"
    assert install.startswith("apt-get install -y --no-install-recommends openssh-client -qq")


def test_root_is_never_asked_for_when_nothing_is_missing(clone: Clone) -> None:
    for name in ("sudo", "apt-get"):
        clone.program(name, '#!/bin/sh\ntouch "$CALLS.asked"\nexit 1\n')
    assert clone.lab("status").returncode == 0
    assert not clone.calls.with_suffix(".asked").exists()


def test_failing_apt_shows_its_last_words(clone: Clone) -> None:
    (clone.programs / "ssh").unlink()
    clone.program("apt-get", "#!/bin/sh\necho 'E: Failed to fetch it' >&2\nexit 100\n")
    done = clone.lab("status", USER_ID="0")
    assert done.returncode == 2
    assert "lab:   | E: Failed to fetch it" in done.stderr
    assert "install them by hand" in done.stderr


def test_machine_without_apt(clone: Clone) -> None:
    for name in ("ssh", "apt-get"):
        (clone.programs / name).unlink()
    done = clone.lab("status", USER_ID="0")
    assert done.returncode == 2
    assert "has no apt-get" in done.stderr


def test_full_disk_is_noticed_first(clone: Clone) -> None:
    done = clone.lab("status", FREE_KIB="102400")
    assert done.returncode == 1
    assert "where 100 MiB are free" in done.stderr
    assert pip_calls(clone) == 0


def test_python_that_was_named_must_be_whole(clone: Clone) -> None:
    done = clone.lab("status", KVMLAB_PYTHON="/nonexistent/python")
    assert done.returncode == 2
    assert "KVMLAB_PYTHON=/nonexistent/python" in done.stderr


def test_embedded_host_is_built_while_pip_goes_on(clone: Clone) -> None:
    """And the build ends with a set-up that fails."""
    build = (
        'case "$*" in\n'
        '    -c*build_all*) echo "$$ $PYTHONPATH" >"$HOME/builder"; exec sleep 60 ;;\n'
        '    *"-m pip"*.build.lock*) ;;\n'
        '    *"-m pip"*) for i in 1 2 3 4 5 6 7 8 9; do\n'
        '        [ -s "$HOME/builder" ] || sleep 0.5; done; exit 1 ;;\n'
        "esac\n"
    )
    clone.program("python-whole", PYTHON.replace("#!/bin/sh\n", f"#!/bin/sh\n{build}"))
    for name in ("mmdebstrap", "mksquashfs", "xz", "gpg"):
        clone.program(name)
    (clone.programs / "sleep").symlink_to(str(shutil.which("sleep")))
    done = clone.lab("run", "00")
    assert (done.returncode, "could not be installed" in done.stderr) == (1, True), done.stderr
    first = (clone.directory / ".venv" / ".build.lock").read_text()
    names = {line.partition("==")[0] for line in first.splitlines() if "==" in line}
    assert names == {"setuptools", "platformdirs", "qemu-qmp"}
    builder, path = (clone.directory.parent / "builder").read_text().split()
    assert path == str(clone.directory)
    assert not Path(f"/proc/{builder}").exists()


def test_build_that_outlasts_pip_shows_what_it_does(clone: Clone) -> None:
    build = (
        'case "$*" in -c*build_all*)\n'
        '    for i in 1 2; do echo "compiling $i/2"; sleep 1; done ;; esac\n'
    )
    clone.program("python-whole", PYTHON.replace("#!/bin/sh\n", f"#!/bin/sh\n{build}"))
    for name in ("mmdebstrap", "mksquashfs", "xz", "gpg"):
        clone.program(name)
    (clone.programs / "sleep").symlink_to(str(shutil.which("sleep")))
    done = clone.lab("run", "00")
    assert (done.returncode, done.stdout) == (0, "kvmlab: run 00\n"), done.stderr
    assert "embedded host goes on" in done.stderr
    assert done.stderr.endswith("compiling 1/2\ncompiling 2/2\n"), "each line once, to the last"


def test_bundle_is_set_up_from_without_an_index(clone: Clone) -> None:
    # Stands in for Python where it unpacks; tests/embedded/test_bundle_archive.py has the real one.
    unpack = (
        'case "$1 $2" in "-I "*bundle_archive.py) echo "$*" >>"$CALLS"\n'
        '    mkdir -p "$HOME/wheels"; cp "$5" "$HOME/wheels/"; echo "$HOME/wheels"; exit ;; esac\n'
    )
    clone.program("python-whole", PYTHON.replace("#!/bin/sh\n", f"#!/bin/sh\n{unpack}"))
    clone.program("ldconfig", "#!/bin/sh\necho libvirt.so.0\n")
    bundle = clone.directory.parent / "b.kvmlab"
    bundle.write_text("")
    done = clone.lab("--bundle", str(bundle), "run", "00")
    assert (done.returncode, done.stdout) == (0, "kvmlab: run 00\n"), done.stderr
    first, *pip = clone.calls.read_text().splitlines()
    assert str(bundle) in first
    wheels = clone.directory.parent / "wheels"
    assert [f"--no-index --find-links {wheels}" in line for line in pip] == [True, True, False]
    assert f"-r {wheels}/requirements.lock" in pip[1]
    assert not wheels.exists(), "they are needed once"
    again = clone.lab("--bundle", str(bundle), "run", "00")
    assert (again.stderr, len(clone.calls.read_text().splitlines())) == ("", 4), "nothing twice"


def test_bundle_that_is_not_there_or_does_not_help(clone: Clone) -> None:
    done = clone.lab("--bundle", "nowhere.kvmlab", "run")
    assert done.returncode == 2
    assert "--bundle needs a file that can be read" in done.stderr
    (clone.directory / "b.kvmlab").write_text("")
    done = clone.lab("--bundle", "b.kvmlab", "test")
    assert (done.returncode, "brings no test tools" in done.stderr) == (2, True)


def test_second_set_up_waits_for_the_first(clone: Clone) -> None:
    with (clone.directory / "lab").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = subprocess.Popen(
            clone.command(["status"]),
            env=clone.environment({}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert waiting.stderr is not None
        assert "Another ./lab is setting this clone up" in waiting.stderr.readline()
        fcntl.flock(held, fcntl.LOCK_UN)
        out, _ = waiting.communicate(timeout=60)
    assert (waiting.returncode, out) == (0, "kvmlab: status\n")


def test_embedded_host_is_built_only_where_it_is_used(clone: Clone) -> None:
    clone.lab("status")
    for name in ("mmdebstrap", "mksquashfs"):
        assert not (clone.programs / name).exists()
    clone.program("sudo", "#!/bin/sh\nexit 1\n")
    for command in ("run", "measure", "doctor"):
        refused = clone.lab(command)
        assert refused.returncode == 2
        assert "mmdebstrap" in refused.stderr
    for words in (
        ["run", "--host", "qemu:///system"],
        ["run", "--host=qemu:///system"],
        ["run", "-p", "HOST=qemu:///system"],
    ):
        assert clone.lab(*words).returncode == 0
    assert clone.lab("run", "--help").returncode == 0


def test_options_of_lab_work_without_its_name(clone: Clone) -> None:
    manifest = clone.directory.parent / ".cache" / "kvmlab" / "images" / "any" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    for words in ([], ["--language", "zh-CN"], ["--language=zh-CN"], ["--port", "9000"]):
        opened = clone.lab(*words)
        assert opened.returncode == 0, opened.stderr
        assert opened.stdout == " ".join(["kvmlab: lab", *words, "--no-browser"]) + "\n"
        assert "no display" in opened.stderr
        assert clone.lab(*words, DISPLAY=":0").stdout.rstrip() == " ".join(["kvmlab: lab", *words])
    quiet = clone.lab("--no-browser")
    assert (quiet.stdout, quiet.stderr) == ("kvmlab: lab --no-browser\n", "")


def test_options_of_the_command_itself_open_nothing(clone: Clone) -> None:
    for word in ("--help", "--version"):
        assert clone.lab(word).stdout == f"kvmlab: {word}\n"
