"""Four changes to QEMU, made by rule in the source tree given as argument.

**Interrupts once.** `helper_vmrun` delivers an injected interrupt itself, by
`do_interrupt_x86_hardirq()`, after it has stored the vector in `cs->exception_index`, and leaves
the vector there. The next time the CPU's loop stops because its instruction budget is used up
(`-icount`), the stale vector is delivered a second time, into code that runs with interrupts off.
The cure clears the index, as every other caller does. Docs: docs/qemu-svm-event-injection.md.

**A CPU's flags are its own.** `cpu_clear_ignne` changes `hflags2` of the first CPU, from the thread
of whichever CPU loads floating-point state, so at every context switch. Where each CPU has a thread
of its own, a change that the first CPU makes meanwhile is lost now and then; where that is the end
of nested paging after a VM exit, the hypervisor's own state is stored as the VM's. The cure writes
only where there is something to clear. Docs: docs/qemu-svm-lost-flags.md.

**Short waits.** While no CPU has anything to do, `-icount sleep=on` lets the virtual clock follow
the real one until the next timer. How long QEMU then really slept depends on what else the machine
does, and that ends up in the virtual clock. Waits of less than `SHORT_NS` are therefore skipped
exactly, as `sleep=off` skips all of them; longer ones still take their time, since libvirt and ssh
talk to a world whose clock is real. Docs: docs/virtual-clock.md.

**Spinning.** PAUSE ends the CPU's loop, to let another CPU run. Under `-icount` with a single one
there is none, and a kernel's busy waiting (`udelay`), which is made of it, takes several times as
long as the instructions around it. There it does nothing, as NOP; its VM exit has been looked for
before. Docs: docs/virtual-clock.md.
"""

import re
import sys
from pathlib import Path

SHORT_NS = 2_000_000
CALL = re.compile(
    r"(case SVM_EVTINJ_TYPE_INTR:\n(?:(?!case )[^\n]*\n)*?"
    r"(?P<indent> +)do_interrupt_x86_hardirq\(env, vector, 1\);\n)"
    r"(?P<rest>(?:(?!case )[^\n]*\n)*?\s+break;\n)"
)
LINE = "cs->exception_index = -1;"
CLEAR = re.compile(
    r"(void cpu_clear_ignne\(void\)\n\{\n(?:[^}\n]*\n)*?)"
    r"(?P<indent> +)(?P<write>env->hflags2 &= ~(?P<flag>HF2_IGNNE_MASK);\n)\}"
)
# Of the two places that ask for the option, the one that has a wait at hand.
WAIT = re.compile(r"(if \(deadline > 0\) \{(?:(?!if \()[^;])*?if \()!icount_sleep\)")

PAUSE = re.compile(r"(static void gen_PAUSE\([^)]*\)\n\{\n)(?= +gen_update_cc_op\(s\);\n)")
ALONE = """\
    if ((tb_cflags(s->base.tb) & CF_USE_ICOUNT) && !CPU_NEXT(first_cpu)) {
        return;
    }
"""


def only(pattern: str) -> Path:
    """The one source file that the pattern finds."""
    found = sorted(Path(sys.argv[1]).glob(pattern))
    if len(found) != 1:
        sys.exit(f"kvmlab: expected one {pattern} below {sys.argv[1]}, found {len(found)}")
    return found[0]


def cure_svm() -> None:
    """Clear what was delivered."""
    path = only("target/i386/tcg/*/svm_helper.c")
    text = path.read_text()
    match = CALL.search(text)
    if match is None:
        sys.exit("kvmlab: svm_helper.c has changed; the place of the cure was not found")
    if LINE in match["rest"]:
        print("kvmlab: this QEMU is cured already", file=sys.stderr)
        return
    cured = f"{match[1]}{match['indent']}{LINE}\n{match['rest']}"
    path.write_text(text[: match.start()] + cured + text[match.end() :])
    print(f"kvmlab: cured {path.name}", file=sys.stderr)


def write_own_flags() -> None:
    """Leave the first CPU's flags alone where they are as they should be."""
    path = only("target/i386/tcg/*/fpu_helper.c")
    text = path.read_text()
    changed, count = CLEAR.subn(_asked_first, text)
    if count != 1:
        sys.exit("kvmlab: fpu_helper.c has changed; the place of the cure was not found")
    path.write_text(changed)
    print(f"kvmlab: cured {path.name}", file=sys.stderr)


def _asked_first(match: re.Match[str]) -> str:
    indent = match["indent"]
    test = f"{indent}if (env->hflags2 & {match['flag']}) {{\n"
    return f"{match[1]}{test}{indent}    {match['write']}{indent}}}\n}}"


def skip_short_waits() -> None:
    """Let the virtual clock jump to a timer that is near."""
    path = only("accel/tcg/icount-common.c")
    text = path.read_text()
    changed, count = WAIT.subn(rf"\g<1>!icount_sleep || deadline < {SHORT_NS})", text)
    if count != 1:
        sys.exit("kvmlab: icount-common.c has changed; the place of short waits was not found")
    path.write_text(changed)
    print(f"kvmlab: short waits in {path.name} are exact", file=sys.stderr)


def pause_for_nobody() -> None:
    """Do not end the CPU's loop where there is no other CPU."""
    path = only("target/i386/tcg/emit.c.inc")
    text = path.read_text()
    changed, count = PAUSE.subn(lambda match: match[1] + ALONE, text)
    if count != 1:
        sys.exit("kvmlab: emit.c.inc has changed; the place of PAUSE was not found")
    path.write_text(changed)
    print(f"kvmlab: PAUSE in {path.name} costs nothing where there is one CPU", file=sys.stderr)


cure_svm()
write_own_flags()
skip_short_waits()
pause_for_nobody()
