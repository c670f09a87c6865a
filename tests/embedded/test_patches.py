"""The patches of the QEMU for emulation: their form, and what happens where one does not apply."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from kvmlab.embedded import emulator

FILES = Path(emulator.__file__).with_name("emulator_files")
PATCHES = sorted(FILES.glob("*.patch"))
AREAS = ("target/i386", "accel/tcg", "hw/net", "net")
SUBJECTS = tuple(f"Subject: [PATCH] {area}: " for area in AREAS)
ONE_LINE = """\
Subject: [PATCH] area: change a line

---
 file.c | 2 +-
 1 file changed, 1 insertion(+), 1 deletion(-)

diff --git a/file.c b/file.c
--- a/file.c
+++ b/file.c
@@ -1,3 +1,3 @@
 first
-old
+new
 last
"""


def test_each_patch_opens_with_its_subject_and_reason() -> None:
    assert len(PATCHES) == 14
    for number, path in enumerate(PATCHES, start=1):
        text = path.read_text(encoding="utf-8")
        message, _, diff = text.partition("\n---\n")
        subject, _, reason = message.partition("\n\n")
        assert path.name.startswith(f"{number:04}-")
        assert subject.startswith(SUBJECTS)
        assert len(reason.splitlines()) >= 2
        assert all(len(line) <= 76 for line in reason.splitlines())
        assert "\ndiff --git a/" in diff


@pytest.mark.skipif(not shutil.which("patch"), reason="no patch program")
@pytest.mark.parametrize(
    ("source", "result", "code", "word"),
    [
        ("first\nold\nlast\n", "first\nnew\nlast\n", 0, "applied 0001-line"),
        ("first\nnew\nlast\n", "first\nnew\nlast\n", 0, "QEMU 10.9 has 0001-line already"),
        ("first\nother\nlast\n", None, 1, "0001-line does not apply to QEMU 10.9"),
    ],
)
def test_a_patch_that_does_not_apply_ends_the_build(
    tmp_path: Path, source: str, result: str | None, code: int, word: str
) -> None:
    (tmp_path / "0001-line.patch").write_text(ONE_LINE)
    tree = tmp_path / "qemu"
    tree.mkdir()
    (tree / "file.c").write_text(source)
    done = subprocess.run(
        ("sh", FILES / "apply-patches.sh", "10.9", tmp_path / "0001-line.patch"),
        cwd=tree,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (code, f"kvmlab: {word}")
    assert (tree / "file.c").read_text() == (result or source)
