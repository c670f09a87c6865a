# The boot sector that proves an accelerator, 512 bytes, 16-bit code. It prints one line on the
# first serial port and ends QEMU through the device isa-debug-exit at port 0x501:
#
#     kvmlab: boots, nested virtualization: yes
#
# "yes" where CPUID shows VMX (leaf 1, ecx bit 5) or SVM (leaf 0x80000001, ecx bit 2), so that the
# lab host can run virtual machines of its own.
# Assembled:  as --32 -o probe.o probe.S && ld -m elf_i386 -Ttext 0x7c00 --oformat binary \
#                 -e start -o probe.bin probe.o
        .code16
        .globl start
start:  ljmp $0, $here
here:   xorw %ax, %ax
        movw %ax, %ds
        movw %ax, %ss
        movw $0x7c00, %sp
        cld
        movw $boots, %si
        call print
        movl $1, %eax
        cpuid
        btl $5, %ecx
        jc can
        movl $0x80000000, %eax
        cpuid
        cmpl $0x80000001, %eax
        jb cannot
        movl $0x80000001, %eax
        cpuid
        btl $2, %ecx
        jc can
cannot: movw $no, %si
        jmp tell
can:    movw $yes, %si
tell:   call print
        movw $0x501, %dx
        xorb %al, %al
        outb %al, %dx
stay:   hlt
        jmp stay

print:  movw $0x3f8, %dx
next:   lodsb
        testb %al, %al
        jz done
        outb %al, %dx
        jmp next
done:   ret

boots:  .asciz "kvmlab: boots, nested virtualization: "
yes:    .asciz "yes\n"
no:     .asciz "no\n"
        .org 510
        .byte 0x55, 0xaa
