# A firmware of 64 KiB that shows whether a QEMU delivers an injected interrupt once, as a processor
# does, or twice (docs/qemu-svm-event-injection.md). It enters a guest by VMRUN with interrupt 0x20
# injected; the guest's handler counts, runs with interrupts off for longer than an instruction
# budget lasts (the timer that is programmed first ends budgets), and leaves by VMMCALL. Then one
# line goes to the first serial port and the machine resets, which ends QEMU under -no-reboot:
#
#     kvmlab: injected 1, delivered 1
#
# Assembled:  as --32 -o svm_probe.o svm_probe.S && ld -m elf_i386 -Ttext 0 --oformat binary \
#                 -e start -o svm_probe.bin svm_probe.o
        .set    rom, 0xf0000
        .set    vmcb, 0x9000
        .set    save_area, 0xa000
        .set    idt, 0xb000
        .set    count, 0xc000
        .set    loops, 2000000

        .code16
        .globl start
start:  cli
        movb $0x34, %al                 # timer 0: periodic, 1 ms
        outb %al, $0x43
        movb $0xa9, %al
        outb %al, $0x40
        movb $0x04, %al
        outb %al, $0x40
        lgdtl %cs:gdt_register
        movl %cr0, %eax
        orb $1, %al
        movl %eax, %cr0
        ljmpl $8, $rom + protected

        .code32
protected:
        movw $16, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        movl $0x7c00, %esp
        cld
        xorl %eax, %eax
        movl $vmcb, %edi
        movl $0xd00, %ecx              # vmcb, save area, idt, count: zeroed
        rep stosl
        movl $idt + 0x20 * 8, %edi      # the gate of vector 0x20
        movl $handler + 0x80000, (%edi)
        movl $0x000f8e00, 4(%edi)
        movl $0xc0000080, %ecx          # EFER.SVME
        rdmsr
        orl $0x1000, %eax
        wrmsr
        movl $0xc0010117, %ecx          # VM_HSAVE_PA
        movl $save_area, %eax
        xorl %edx, %edx
        wrmsr

        movl $vmcb, %ebx
        movb $0x80, 0x0f(%ebx)          # intercept shutdown,
        movb $3, 0x10(%ebx)             # VMRUN and VMMCALL
        incl 0x58(%ebx)                 # ASID 1
        movl $0x80000020, 0xa8(%ebx)    # inject: valid, interrupt, vector 0x20
        movl $0x0c930010, %eax          # es, ss, ds: 32-bit data, flat
        movl %eax, 0x400(%ebx)
        movl %eax, 0x420(%ebx)
        movl %eax, 0x430(%ebx)
        movl $0x0c9b0008, 0x410(%ebx)   # cs: 32-bit code, flat
        orl $-1, %eax
        movl %eax, 0x404(%ebx)
        movl %eax, 0x414(%ebx)
        movl %eax, 0x424(%ebx)
        movl %eax, 0x434(%ebx)
        movl $23, 0x464(%ebx)           # gdtr
        movl $rom + gdt, 0x468(%ebx)
        movl $0x7ff, 0x484(%ebx)        # idtr
        movl $idt, 0x488(%ebx)
        movb $0x10, 0x4d1(%ebx)         # EFER.SVME
        movl %cr0, %eax
        movl %eax, 0x558(%ebx)
        movl $0x202, 0x570(%ebx)        # rflags: interrupts on
        movl $rom + guest, 0x578(%ebx)
        movl $0x7800, 0x5d8(%ebx)
        movl %ebx, %eax
        vmrun

        movl $rom + line, %esi                # back from the guest
        movw $0x3f8, %dx
next:   lodsb
        testb %al, %al
        jz count_out
        outb %al, %dx
        jmp next
count_out:
        movb count, %al
        addb $'0', %al
        outb %al, %dx
        movb $'\n', %al
        outb %al, %dx
   movw $0xcf9, %dx             # reset, which ends QEMU under -no-reboot
        movb $6, %al
        outb %al, %dx
stay:   hlt
        jmp stay

handler:
        incb count
        movl $loops, %ecx
spin:   loop spin
guest:  vmmcall

gdt:    .quad 0
        .quad 0x00cf9b000000ffff
        .quad 0x00cf93000000ffff
gdt_register:
        .word 23
        .long rom + gdt
line:   .asciz "kvmlab: injected 1, delivered "

        .code16
        .org 0xfff0
        ljmp $0xf000, $start
        .org 0x10000
