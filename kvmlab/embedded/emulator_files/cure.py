"""Cures one defect of QEMU's SVM emulation, in the source tree given as argument.

`helper_vmrun` delivers an injected interrupt itself by `do_interrupt_x86_hardirq()`, after it has
stored the vector in `cs->exception_index`, and leaves the vector there. The next time the CPU's
loop stops because its instruction budget is used up (`-icount`), the stale vector is delivered a
second time, into code that runs with interrupts off. The cure clears the index, as every other
caller does. Docs: docs/qemu-svm-event-injection.md.
"""

import re
import sys
from pathlib import Path

CALL = re.compile(
    r"(case SVM_EVTINJ_TYPE_INTR:\n(?:(?!case )[^\n]*\n)*?"
    r"(?P<indent> +)do_interrupt_x86_hardirq\(env, vector, 1\);\n)"
    r"(?P<rest>(?:(?!case )[^\n]*\n)*?\s+break;\n)"
)
LINE = "cs->exception_index = -1;"

found = sorted(Path(sys.argv[1]).glob("target/i386/tcg/*/svm_helper.c"))
if len(found) != 1:
    sys.exit(f"kvmlab: expected one svm_helper.c below {sys.argv[1]}, found {len(found)}")
text = found[0].read_text()
match = CALL.search(text)
if match is None:
    sys.exit("kvmlab: svm_helper.c has changed; the place of the cure was not found")
if LINE in match["rest"]:
    print("kvmlab: this QEMU is cured already", file=sys.stderr)
else:
    cured = f"{match[1]}{match['indent']}{LINE}\n{match['rest']}"
    found[0].write_text(text[: match.start()] + cured + text[match.end() :])
    print(f"kvmlab: cured {found[0].name}", file=sys.stderr)
