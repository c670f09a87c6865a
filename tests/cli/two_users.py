"""Two unprivileged users of one machine at work: ``python -m tests.cli.two_users BASE SHARED``.

Started by root in a copy of the sources that everybody may read. Each user is a child process that
has given up root, has a home below BASE and no supplementary group; the image in SHARED is root's.
What a user saw is printed as a line of JSON.
"""

from __future__ import annotations

import io
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Final

from kvmlab import embedded
from kvmlab.changes.change import AppliedSteps
from kvmlab.cli import answer
from kvmlab.domain import TestVM
from kvmlab.embedded.shared_cache import VARIABLE
from kvmlab.errors import KvmlabError
from kvmlab.hosts.runtime_dir import RuntimeDir
from tests.changes.plain_host import PlainRunner, plain_host, write_step

ALICE, BOB = 23456, 23457
_ROUNDS: Final = 20


def home_of(base: Path, uid: int) -> Path:
    """Return the home of a user."""
    return base / f"home-{uid}"


def environment(home: Path, shared: Path) -> dict[str, str]:
    """Return the environment of a login there, without XDG_RUNTIME_DIR as under `su`."""
    return {
        "HOME": str(home),
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "KVMLAB_STATE_HOME": str(home / "state"),
        "XDG_CACHE_HOME": str(home / "cache"),
        VARIABLE: str(shared),
    }


def change() -> None:
    """Apply and revert nothing, with a lock and a journal all the same."""
    with plain_host(PlainRunner()) as host:
        nothing = AppliedSteps(TestVM.find(host, "test"), (), scheme="x")
        nothing.apply()
        nothing.revert()


def work(home: Path) -> dict[str, Any]:
    """Use state folder, lock, cache, shared cache and a connection's folder, again and again."""
    setting = home / "setting"
    for _ in range(_ROUNDS):
        setting.write_text("0\n")
        with plain_host(PlainRunner()) as host:
            step = write_step(setting, "0", "1")
            one = AppliedSteps(TestVM.find(host, "test"), (step,), scheme="x")
            one.apply()
            changed = setting.read_text()
            one.revert()
        image = embedded.find_image()
        folder = RuntimeDir()
        connection = str(folder.path)
        folder.close()
        status = _answer("host", "status")
    return {
        "setting": [changed, setting.read_text()],
        "image": str(image.path) if image is not None else "",
        "connection": connection,
        "status": status,
    }


def intrude(home: Path) -> dict[str, Any]:
    """Use the state folder and the cache of another user, whose ``home`` it is."""
    os.environ["KVMLAB_STATE_HOME"] = str(home / "state")
    state = _error(change)
    os.environ["XDG_CACHE_HOME"] = str(home / "cache")
    return {"state": state, "cache": _answer("host", "status")}


def share_a_folder(folder: Path) -> dict[str, Any]:
    """Use a folder in which everybody may make files, as both users' cache and state."""
    os.environ |= {"XDG_CACHE_HOME": str(folder), "KVMLAB_STATE_HOME": str(folder / "state")}
    return {"state": _error(change), "cache": _answer("host", "status")}


def squat(uid: int) -> dict[str, Any]:
    """Take the folder in /tmp that another user's connections fall back to."""
    Path(f"/tmp/kvmlab-{uid}").mkdir(mode=0o777)
    return {}


def connect_from_far_away(home: Path) -> dict[str, Any]:
    """Open a connection's folder where only the one in /tmp has a path short enough."""
    os.environ["XDG_CACHE_HOME"] = str(home / ("long" * 30))
    return {"connection": _error(RuntimeDir)}


def _answer(*words: str) -> list[Any]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = answer(words)
    return [code, out.getvalue() + err.getvalue()]


def _error(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except KvmlabError as error:
        return f"{error.message} {error.todo}"
    return ""


def start(uid: int, variables: Mapping[str, str], task: Callable[[], dict[str, Any]]) -> int:
    """Start a task as a user; return its process."""
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.environ.clear()
    os.environ.update(variables)
    code = 1
    try:
        seen = task()
        os.write(
            1, f"{json.dumps({'uid': os.geteuid(), 'task': task.__name__, **seen})}\n".encode()
        )
        code = 0
    finally:
        if code:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)


def main(base: Path, shared: Path) -> None:
    """Let both work at once, then one after the other get into each other's way."""
    homes = {uid: home_of(base, uid) for uid in (ALICE, BOB)}
    for uid, home in {**homes, 0: base / "home-0"}.items():
        home.mkdir(mode=0o755)
        os.chown(home, uid, uid)
    common = base / "common"
    common.mkdir()
    common.chmod(0o1777)
    # Loads every module that is needed: the users may not read where Python has them.
    os.environ.update(environment(base / "home-0", shared))
    work(base / "home-0")

    def task(name: str, function: Callable[..., dict[str, Any]], *words: Any) -> Any:
        def run() -> dict[str, Any]:
            return function(*words)

        run.__name__ = name
        return run

    def together(*tasks: tuple[int, Any]) -> None:
        pids = [start(uid, environment(homes[uid], shared), each) for uid, each in tasks]
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        assert codes == [0] * len(pids), codes

    together(*((uid, task("work", work, home)) for uid, home in homes.items()))
    together((BOB, task("intrude", intrude, homes[ALICE])))
    together((ALICE, task("first", share_a_folder, common)))
    together((BOB, task("second", share_a_folder, common)))
    place = Path(f"/tmp/kvmlab-{BOB}")
    try:
        together((ALICE, task("squat", squat, BOB)))
        together((BOB, task("far", connect_from_far_away, homes[BOB])))
    finally:
        place.rmdir()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
