"""Names for the numbers by which the kernel counts exits."""

from __future__ import annotations

# From Linux, arch/x86/include/uapi/asm/svm.h (as the tracepoint kvm:kvm_exit prints them).
SVM = {
    0x0: "read_cr0", 0x2: "read_cr2", 0x3: "read_cr3", 0x4: "read_cr4", 0x8: "read_cr8",
    0x10: "write_cr0", 0x12: "write_cr2", 0x13: "write_cr3", 0x14: "write_cr4", 0x18: "write_cr8",
    0x20: "read_dr0", 0x21: "read_dr1", 0x22: "read_dr2", 0x23: "read_dr3", 0x24: "read_dr4",
    0x25: "read_dr5", 0x26: "read_dr6", 0x27: "read_dr7", 0x30: "write_dr0", 0x31: "write_dr1",
    0x32: "write_dr2", 0x33: "write_dr3", 0x34: "write_dr4", 0x35: "write_dr5", 0x36: "write_dr6",
    0x37: "write_dr7", 0x40: "DE excp", 0x41: "DB excp", 0x43: "BP excp", 0x44: "OF excp",
    0x45: "BR excp", 0x46: "UD excp", 0x47: "NM excp", 0x48: "DF excp", 0x4a: "TS excp",
    0x4b: "NP excp", 0x4c: "SS excp", 0x4d: "GP excp", 0x4e: "PF excp", 0x50: "MF excp",
    0x51: "AC excp", 0x52: "MC excp", 0x53: "XF excp", 0x60: "interrupt", 0x61: "nmi",
    0x62: "smi", 0x63: "init", 0x64: "vintr", 0x65: "cr0_sel_write", 0x66: "read_idtr",
    0x67: "read_gdtr", 0x68: "read_ldtr", 0x69: "read_rt", 0x6a: "write_idtr", 0x6b: "write_gdtr",
    0x6c: "write_ldtr", 0x6d: "write_rt", 0x6e: "rdtsc", 0x6f: "rdpmc", 0x70: "pushf",
    0x71: "popf", 0x72: "cpuid", 0x73: "rsm", 0x74: "iret", 0x75: "swint", 0x76: "invd",
    0x77: "pause", 0x78: "hlt", 0x79: "invlpg", 0x7a: "invlpga", 0x7b: "io", 0x7c: "msr",
    0x7d: "task_switch", 0x7e: "ferr_freeze", 0x7f: "shutdown", 0x80: "vmrun", 0x81: "hypercall",
    0x82: "vmload", 0x83: "vmsave", 0x84: "stgi", 0x85: "clgi", 0x86: "skinit", 0x87: "rdtscp",
    0x88: "icebp", 0x89: "wbinvd", 0x8a: "monitor", 0x8b: "mwait", 0x8d: "xsetbv",
    0x8f: "write_efer_trap", 0x90: "write_cr0_trap", 0x94: "write_cr4_trap",
    0x98: "write_cr8_trap", 0xa2: "invpcid", 0xa5: "buslock", 0xa6: "idle-halt", 0x400: "npf",
    0x401: "avic_incomplete_ipi", 0x402: "avic_unaccelerated_access", 0x403: "vmgexit",
}  # fmt: skip

# From Linux, arch/x86/include/uapi/asm/vmx.h.
VMX = {
    0: "exception_nmi", 1: "external_interrupt", 2: "triple_fault", 3: "init_signal",
    4: "sipi_signal", 7: "interrupt_window", 8: "nmi_window", 9: "task_switch", 10: "cpuid",
    12: "hlt", 13: "invd", 14: "invlpg", 15: "rdpmc", 16: "rdtsc", 18: "vmcall", 19: "vmclear",
    20: "vmlaunch", 21: "vmptrld", 22: "vmptrst", 23: "vmread", 24: "vmresume", 25: "vmwrite",
    26: "vmoff", 27: "vmon", 28: "cr_access", 29: "dr_access", 30: "io_instruction",
    31: "msr_read", 32: "msr_write", 33: "invalid_state", 34: "msr_load_fail",
    36: "mwait_instruction", 37: "monitor_trap_flag", 39: "monitor_instruction",
    40: "pause_instruction", 41: "mce_during_vmentry", 43: "tpr_below_threshold",
    44: "apic_access", 45: "eoi_induced", 46: "gdtr_idtr", 47: "ldtr_tr", 48: "ept_violation",
    49: "ept_misconfig", 50: "invept", 51: "rdtscp", 52: "preemption_timer", 53: "invvpid",
    54: "wbinvd", 55: "xsetbv", 56: "apic_write", 57: "rdrand", 58: "invpcid", 59: "vmfunc",
    60: "encls", 61: "rdseed", 62: "pml_full", 63: "xsaves", 64: "xrstors", 67: "umwait",
    68: "tpause", 74: "bus_lock", 75: "notify", 77: "tdcall", 84: "msr_read_imm",
    85: "msr_write_imm",
}  # fmt: skip

# From Linux, include/uapi/linux/kvm.h: KVM_EXIT_*.
USERSPACE = {
    0: "UNKNOWN", 1: "EXCEPTION", 2: "IO", 3: "HYPERCALL", 4: "DEBUG", 5: "HLT", 6: "MMIO",
    7: "IRQ_WINDOW_OPEN", 8: "SHUTDOWN", 9: "FAIL_ENTRY", 10: "INTR", 11: "SET_TPR",
    12: "TPR_ACCESS", 13: "S390_SIEIC", 14: "S390_RESET", 15: "DCR", 16: "NMI",
    17: "INTERNAL_ERROR", 18: "OSI", 19: "PAPR_HCALL", 20: "S390_UCONTROL", 21: "WATCHDOG",
    22: "S390_TSCH", 23: "EPR", 24: "SYSTEM_EVENT", 25: "S390_STSI", 26: "IOAPIC_EOI",
    27: "HYPERV", 28: "ARM_NISV", 29: "X86_RDMSR", 30: "X86_WRMSR",
}  # fmt: skip


_ISA_VMX, _ISA_SVM = 1, 2  # KVM_ISA_VMX, KVM_ISA_SVM in the kernel's trace.h
_VMX_BASIC_REASON = 0xFFFF  # the bits above are flags, such as a failed entry
_EINTR = 4


def vm_exit_name(isa: int, reason: int) -> str:
    """Return the name of a VM exit: AMD's (``npf``) or Intel's (``ept_misconfig``).

    >>> vm_exit_name(2, 0x400), vm_exit_name(1, 49), vm_exit_name(2, 0x999)
    ('npf', 'ept_misconfig', 'svm exit 0x999')
    """
    if isa == _ISA_SVM:
        return SVM.get(reason, f"svm exit {reason:#x}")
    if isa == _ISA_VMX:
        basic = reason & _VMX_BASIC_REASON
        return VMX.get(basic, f"vmx exit {basic}")
    return f"isa {isa} exit {reason}"


def userspace_exit_name(reason: int, errno: int) -> str:
    """Return the name of an exit to QEMU: its reason, or that a signal interrupted the thread.

    >>> userspace_exit_name(6, 0), userspace_exit_name(10, -4)
    ('MMIO', 'interrupted by a signal')
    """
    if errno < 0:
        return "interrupted by a signal" if errno == -_EINTR else f"error {-errno}"
    return USERSPACE.get(reason, f"reason {reason}")


def vector_name(vector: int) -> str:
    """Return the name of an interrupt that was injected into the VM.

    >>> vector_name(0x2A)
    'vector 0x2a'
    """
    return f"vector {vector:#04x}"
