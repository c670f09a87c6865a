# A firmware of 64 KiB that measures programs of known length by the time stamp counter, which
# under `-icount shift=0` counts instructions. One line for each program goes to the first serial port:
#
#     NAME count events rcx rsi rdi flags sum
#
# count: instructions between two RDTSC; events: exceptions and interrupts meanwhile; rcx, rsi, rdi
# and the arithmetic flags afterwards; sum: a checksum of the 64 KiB of destination. All in
# hexadecimal. At the end the machine resets, which ends QEMU under -no-reboot.
# Assembled:  as --64 -o counts.o instruction_counts.S && ld -m elf_x86_64 -Ttext 0 \
#                 --oformat binary -e start -o counts.bin counts.o
        .set    rom, 0xf0000
        .set    pml4, 0x10000           # page tables: four pages from here
        .set    fine, 0x13000           # the table of 4 KiB pages, for 0x800000 to 0x9fffff
        .set    idt, 0xb000
        .set    events, 0xc000
        .set    source, 0x400000
        .set    code, 0x500000
        .set    target, 0x600000
        .set    holed, 0x810000         # a page that is not present until it is touched
        .set    local_apic, 0xfee00000
        .set    vmcb, 0x20000
        .set    save_area, 0x21000
        .set    nested, 0x22000         # nested page tables: four pages from here
        .set    nested_fine, 0x25000    # those of 4 KiB, for 0x800000 to 0x9fffff of the VM
        .set    other, 0x26000          # page tables of a second process of the VM
        .set    other_fine, 0x29000

        .code16
        .globl start
start:  cli
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
        movl $idt, %edi                 # interrupt table and events
        movl $0x800, %ecx
        rep stosl
        movl $pml4, %edi
        movl $0x1000, %ecx
        rep stosl
        movl $pml4 + 0x1003, pml4
        movl $pml4 + 0x2003, pml4 + 0x1000
        movl $0xc0000083, pml4 + 0x1018 # devices: one page of 1 GiB
        movl $0x83, %eax                # 64 MiB of memory in pages of 2 MiB,
        movl $pml4 + 0x2000, %edi
        movl $32, %ecx
large:  movl %eax, (%edi)
        addl $0x200000, %eax
        addl $8, %edi
        loop large
        movl $fine + 3, pml4 + 0x2020   # and the fifth of them in pages of 4 KiB
        movl $0x800003, %eax
        movl $fine, %edi
        movl $512, %ecx
small:  movl %eax, (%edi)
        addl $0x1000, %eax
        addl $8, %edi
        loop small
        movl %cr4, %eax
        orl $0x620, %eax                # PAE, and SSE
        movl %eax, %cr4
        movl $pml4, %eax
        movl %eax, %cr3
        movl $0xc0000080, %ecx          # EFER.LME
        rdmsr
        orl $0x100, %eax
        wrmsr
        movl %cr0, %eax
        orl $0x80000002, %eax
        andl $~4, %eax
        movl %eax, %cr0
        ljmp $24, $rom + long

        .code64
long:   movq $rom + debug, %rax
        movl $1, %ecx
        call gate
        movq $rom + fault, %rax
        movl $14, %ecx
        call gate
        movq $rom + timer, %rax
        movl $0x20, %ecx
        call gate
        lidt idt_register(%rip)
        movb $0x11, %al                 # interrupts of the PIC from 0x20; only the timer's
        outb %al, $0x20
        movb $0x20, %al
        outb %al, $0x21
        movb $4, %al
        outb %al, $0x21
        movb $1, %al
        outb %al, $0x21
        movb $0xfe, %al
        outb %al, $0x21
        movl $local_apic, %ebx          # which the local APIC passes on
        movl $0x1ff, 0xf0(%rbx)
        movl $0x700, 0x350(%rbx)

# program NAME: prepare memory and registers; `from` starts to count, `done` stops and prints
        .macro program name
        call prepare
        lea 1f(%rip), %r15
        jmp 2f
1:      .asciz "\name"
2:      movl $source, %esi
        movl $target, %edi
        .endm
        .macro from
        rdtsc
        movl %eax, %r8d
        .endm
        .macro done
        rdtsc
        call report
        .endm

        program empty
        from
        done

        program nops
        from
        .rept 1000
        nop
        .endr
        done

        program loop
        from
        movl $10000, %ecx
1:      loop 1b
        done

        program calls
        from
        movl $1000, %ecx
1:      call 2f
        decl %ecx
        jnz 1b
        jmp 3f
2:      pushq %rax
        popq %rax
        ret
3:      done

        program indirect
        lea 2f(%rip), %rbx
        movl $1000, %ecx
        from
1:      jmp *%rbx
        .org . + 0x1100                 # on another page
2:      decl %ecx
        jnz 1b
        done

        program mixed
        movl $500, %ecx
        from
1:      movl %ecx, %eax
        xorl %edx, %edx
        movl $7, %ebx
        divl %ebx
        imull %eax, %edx
        cvtsi2sd %edx, %xmm0
        addsd %xmm0, %xmm0
        movsd %xmm0, (%rdi)
        addq $8, %rdi
        decl %ecx
        jnz 1b
        done

        .macro string name, count, insn
        program \name
        movl $\count, %ecx
        from
        movl $0x5a6b7c8d, %eax
        \insn
        done
        .endm

        string movsb0, 0, "rep movsb"
        string movsb1, 1, "rep movsb"
        string movsb2, 2, "rep movsb"
        string movsb5000, 5000, "rep movsb"
        string movsw, 5000, "rep movsw"
        string movsl, 5000, "rep movsl"
        string movsq, 5000, "rep movsq"
        string movsq8192, 8192, "rep movsq"
        string addr32, 5000, "addr32 rep movsl"
        string stosb, 5000, "rep stosb"
        string stosq, 5000, "rep stosq"
        string lodsq, 5000, "rep lodsq"
        string cmpsb, 5000, "repe cmpsb"        # the source's fifth byte is the first that is not 0
        string cmpsn, 5000, "repne cmpsb"
        string scasb, 5000, "repe scasb"

        program scasb_zeros
        movl $5000, %ecx
        from
        movb $0, %al
        repe scasb
        done

        program cmpsb_equal
        movl $5000, %ecx
        rep movsb
        movl $source, %esi
        movl $target, %edi
        movl $5000, %ecx
        from
        repe cmpsb
        done

        program cmpsb_odd
        movl $5000, %ecx
        rep movsb
        incb target + 3000
        movl $source, %esi
        movl $target, %edi
        movl $5000, %ecx
        from
        repe cmpsb
        done

        program scasb_found
        movb $1, target + 1234
        movl $5000, %ecx
        from
        movb $1, %al
        repne scasb
        done

        program backwards
        movl $source + 40000, %esi
        movl $target + 40000, %edi
        movl $5000, %ecx
        from
        std
        rep movsq
        cld
        done

        program overlapping                     # a pattern of three bytes spreads
        addl $4, %esi
        movl $3, %ecx
        rep movsb
        movl $target, %esi
        movl $5000, %ecx
        from
        rep movsb
        done

        program unaligned
        addl $5, %esi
        addl $3, %edi
        movl $5000, %ecx
        from
        rep movsq
        done

        program stepped                         # a trap after each iteration
        movl $50, %ecx
        from
        pushfq
        orq $0x100, (%rsp)
        popfq
        rep movsb
        nop
        pushfq
        andq $~0x100, (%rsp)
        popfq
        done

        program shadowed                        # the first iteration without interrupts
        movl $5000, %ecx
        from
        movw %ss, %ax
        movw %ax, %ss
        rep movsb
        done

        program fault                           # a page comes while it is filled
        movl $0, fine + 0x80
        movl $holed, %eax
        invlpg (%rax)
        movl $holed - 4000, %edi
        movl $1000, %ecx
        from
        rep stosq
        done

        program interrupted
        movb $0x34, %al                         # the timer: periodic, every 0.1 ms
        outb %al, $0x43
        movb $119, %al
        outb %al, $0x40
        movb $0, %al
        outb %al, $0x40
        movl $60000, %ecx
        sti
        from
        rep movsb
        movl $8000, %ecx
        movl $source, %esi
        movl $target, %edi
        rep movsq
        movl $8000, %ecx
        movl $target, %edi
        movl $0x5a6b7c8d, %eax
        rep stosq
        movl $200000, %ecx
1:      loop 1b
        cli
        done
        movb $0x30, %al                         # once, and that is over soon
        outb %al, $0x43
        movb $1, %al
        outb %al, $0x40
        movb $0, %al
        outb %al, $0x40

        program overwritten                     # code that has run is written over, and runs
        call plant
        movl $code, %ebx
        call *%rbx
        movl $code, %edi
        movl $32, %ecx
        from
        movb $0x90, %al
        rep stosb
        call *%rbx
        done

        program ahead                           # REP STOSB writes over what follows it
        call plant
        movl $code, %ebx
        movw $0xaaf3, (%rbx)
        leal 2(%rbx), %edi
        movl $30, %ecx
        from
        movb $0x90, %al
        call *%rbx
        done

        program device                          # a device's memory as source
        movl $local_apic + 0x20, %esi
        movl $8, %ecx
        from
        rep movsl
        done

        program port
        movw $0x3ff, %dx                        # the serial port's scratch register
        movl $100, %ecx
        rdtsc
        movl %eax, %r8d
        movw $0x3ff, %dx
        rep outsb
        done

        program overlapping_words               # each word is read half written
        movl $64, %ecx
        rep movsb
        movl $target, %esi
        movl $target + 20, %edi
        movl $3000, %ecx
        from
        rep movsq
        done

        program overlapping_down
        movl $0x3000, %ecx
        rep movsb
        movl $target + 3, %esi
        movl $target, %edi
        movl $1500, %ecx
        from
        rep movsq
        done

        program scattered                       # three pages that lie in another order
        movl $0x844000, %edi
        movl $0x600, %ecx
        rep movsq
        movl $0x846003, fine + 0x220
        movl $0x844003, fine + 0x228
        movl $0x845003, fine + 0x230
        movq %cr3, %rax
        movq %rax, %cr3
        movl $0x844010, %esi
        movl $target + 5, %edi
        movl $1500, %ecx
        from
        rep movsq
        done
        movl $0x844003, fine + 0x220
        movl $0x845003, fine + 0x228
        movl $0x846003, fine + 0x230
        movq %cr3, %rax
        movq %rax, %cr3

        program moved_code                      # what a page of code is changes
        movl $0x840000, %ebx
        movl $0x00c3c6ff, 0x840000              # incl %esi; ret
        movl $0xc310c683, 0x841000              # addl $16, %esi; ret
        xorl %esi, %esi
        from
        call *%rbx
        call *%rbx
        movl $0x841003, fine + 0x200
        invlpg (%rbx)
        call *%rbx
        movl $0x840003, fine + 0x200
        movq %cr3, %rax
        movq %rax, %cr3
        call *%rbx
        done

        program global_pages                    # one stays when CR3 is loaded, others do not
        movl $0x1111, 0x842000
        movl $0x2222, 0x843000
        movl $0x842103, fine + 0x210
        movl $0x842000, %ebx
        invlpg (%rbx)
        movq %cr4, %rax
        orb $0x80, %al
        movq %rax, %cr4
        from
        movl 0x842000, %esi
        shll $16, %esi
        addl 0x843000, %esi
        movl $0x842003, fine + 0x218
        movq %cr3, %rax
        movq %rax, %cr3
        movl 0x843000, %edi
        addl 0x842000, %edi
        shll $16, %edi
        movl $0x843103, fine + 0x210
        invlpg (%rbx)
        addl 0x842000, %edi
        movl $0x842103, fine + 0x210
        movq %cr4, %rax
        andb $~0x80, %al
        movq %rax, %cr4
        movl 0x842000, %ecx
        done
        movl $0x842003, fine + 0x210
        movl $0x843003, fine + 0x218
        movq %cr3, %rax
        movq %rax, %cr3

# ---- programs that run a VM; each VMRUN and what the VM executes count one by one

        movl $0xc0000080, %ecx                  # EFER.SVME
        rdmsr
        orl $0x1000, %eax
        wrmsr
        movl $0xc0010117, %ecx                  # VM_HSAVE_PA
        movl $save_area, %eax
        xorl %edx, %edx
        wrmsr
        call tables

# vm NAME, GUEST: `program`, with a VM that will begin at GUEST
        .macro vm name, guest
        program \name
        movq $rom + \guest, %rbp
        call new_vm
        .endm
        .macro enter
        movl $vmcb, %eax
        vmrun
        .endm

        vm vm_nothing, leave
        from
        enter
        done

        vm vm_loop, vm_loop_guest
        from
        enter
        done

        vm vm_copy, vm_copy_guest
        from
        enter
        done

        vm vm_switches, vm_add_guest            # the same VM again and again
        movl $300, %ebx
        xorl %esi, %esi
        from
1:      enter
        movq $rom + vm_add_guest, vmcb + 0x578
        movl (%rdi), %eax
        addl %ebx, (%rdi)
        decl %ebx
        jnz 1b
        done

        vm vm_two, vm_add_guest                 # two VMs in turn, told apart by their ASID
        movl $100, %ebx
        xorl %esi, %esi
        from
1:      xorb $3, vmcb + 0x58
        enter
        movq $rom + vm_add_guest, vmcb + 0x578
        decl %ebx
        jnz 1b
        done

        vm vm_fault, vm_fill_guest              # pages come while they are filled
        movq $0, nested_fine + 0x80
        movq $0, nested_fine + 0x88
        movb $2, vmcb + 0x58
        movl $holed - 4000, %edi
        movl $1300, %ecx
        from
1:      enter
        cmpl $0x400, vmcb + 0x70                # nested page fault
        jne 2f
        incl events
        movl vmcb + 0x80, %eax                  # where
        movl %eax, %edx
        andl $0x1ff000, %edx
        shrl $9, %edx
        andl $~0xfff, %eax
        orl $7, %eax
        movl %eax, nested_fine(%rdx)
        jmp 1b
2:      done

        vm vm_remap, vm_read_guest              # nested tables change, with a new ASID,
        call number
        from
        enter
        movl %esi, %r14d
        movl $0x831007, nested_fine + 0x100
        movb $2, vmcb + 0x58
        call again
        movl %esi, %edi
        movl %r14d, %esi
        done

        vm vm_flush, vm_read_guest              # with all ASIDs flushed,
        call number
        from
        enter
        movl %esi, %r14d
        movl $0x831007, nested_fine + 0x100
        movb $1, vmcb + 0x5c
        call again
        movl %esi, %edi
        movl %r14d, %esi
        done

        vm vm_nested_cr3, vm_read_guest         # and by another root
        call number
        from
        enter
        movl %esi, %r14d
        movl $pml4, vmcb + 0xb0                 # the host's, but with user pages
        orb $4, pml4
        orb $4, pml4 + 0x1000
        orb $4, pml4 + 0x1018
        orb $4, pml4 + 0x2000
        orb $4, pml4 + 0x2020
        movl $0x832007, fine + 0x100
        orb $4, fine + 0x190
        call again
        andb $~4, fine + 0x190
        andb $~4, pml4
        andb $~4, pml4 + 0x1000
        andb $~4, pml4 + 0x1018
        andb $~4, pml4 + 0x2000
        andb $~4, pml4 + 0x2020
        movl $0x820003, fine + 0x100
        movl $0x820000, %eax
        invlpg (%rax)
        movl %esi, %edi
        movl %r14d, %esi
        done

        vm vm_process, vm_process_guest         # the VM loads CR3; the host's does not change
        call number
        from
        enter
        addl 0x820000, %ecx
        done

        vm vm_invlpg, vm_invlpg_guest           # the VM changes a page of its own
        call number
        from
        enter
        addl 0x820000, %ecx
        done

        vm vm_host_page, vm_read_guest          # the host changes a page of its own
        call number
        from
        addl 0x820000, %ecx
        enter
        movl $0x831003, fine + 0x100
        movl $0x820000, %eax
        invlpg (%rax)
        addl 0x820000, %ecx
        call again
        movl $0x820003, fine + 0x100
        movq %cr3, %rax
        movq %rax, %cr3
        addl 0x820000, %ecx
        done

        vm vm_unprotected, vm_store_guest       # CR0.WP changes behind the VM's back
        call number
        movl $0x820001, fine + 0x100            # read only
        movl $0x820000, %eax
        invlpg (%rax)
        orb $0x40, vmcb + 0x09                  # intercept page faults
        andl $~0x10000, vmcb + 0x558
        movl $0x5678, %ebx
        from
        enter
        movl 0x820000, %esi
        movq $rom + vm_store_guest, vmcb + 0x578
        orl $0x10000, vmcb + 0x558
        movl $0x9999, %ebx
        enter
        movl 0x820000, %edi
        movl vmcb + 0x70, %ecx                  # 0x4e: the page fault
        done
        movl $0x820003, fine + 0x100
        movl $0x820000, %eax
        invlpg (%rax)

        vm vm_shadowed, vm_read_guest           # without nested paging: the VM has its own CR3
        call number
        andb $~1, vmcb + 0x90
        movq $other, vmcb + 0x550
        from
        enter
        movl %esi, %r14d
        movq $pml4, vmcb + 0x550
        call again
        movl %esi, %edi
        movl %r14d, %esi
        addl 0x820000, %ecx
        done

        vm vm_interrupted, vm_long_guest
        orb $1, vmcb + 0x0c                     # intercept interrupts
        movl $0x1000000, vmcb + 0x60            # V_INTR_MASKING
        movb $0x34, %al
        outb %al, $0x43
        movb $119, %al
        outb %al, $0x40
        movb $0, %al
        outb %al, $0x40
        sti
        from
1:      enter
        stgi                                    # the host's handler counts here
        nop
        clgi
        cmpl $0x60, vmcb + 0x70
        je 1b
        cli
        done
        stgi
        movb $0x30, %al
        outb %al, $0x43
        movb $1, %al
        outb %al, $0x40
        movb $0, %al
        outb %al, $0x40

        movw $0xcf9, %dx                        # reset
        movb $6, %al
        outb %al, %dx
stay:   hlt
        jmp stay

vm_loop_guest:
        movl $10000, %ecx
1:      loop 1b
leave:  vmmcall

vm_copy_guest:
        movl $5000, %ecx
        rep movsq
        vmmcall

vm_add_guest:
        movl (%rdi), %edx
        addl %edx, %esi
        addl $3, (%rdi)
        vmmcall

vm_fill_guest:
        rep stosq
        vmmcall

vm_read_guest:
        movl 0x820000, %esi
        vmmcall

vm_process_guest:
        movl 0x820000, %esi
        movl $other, %eax
        movq %rax, %cr3
        movl 0x820000, %edi
        movl $pml4, %eax
        movq %rax, %cr3
        movl 0x820000, %ecx
        vmmcall

vm_invlpg_guest:
        movl 0x820000, %esi
        movl $0x831003, fine + 0x100
        movl $0x820000, %eax
        invlpg (%rax)
        movl 0x820000, %edi
        movl $0x820003, fine + 0x100
        invlpg (%rax)
        movl 0x820000, %ecx
        vmmcall

vm_store_guest:
        movl %ebx, 0x820000
        vmmcall

vm_long_guest:
        sti
        movl $200000, %ecx
1:      loop 1b
        cli
        vmmcall

# run the VM once more, from its begin
again:  movq $rom + vm_read_guest, vmcb + 0x578
        enter
        movb $0, vmcb + 0x5c
        ret

# three pages that can be told apart
number: movl $0x1111, 0x820000
        movl $0x2222, 0x831000
        movl $0x3333, 0x832000
        xorl %ecx, %ecx
        ret

# nested page tables that map memory to itself, and a second process's, where 0x820000 is 0x832000
tables: movl $nested, %edi
        movl $0x1000, %ecx
        xorl %eax, %eax
        rep stosl
        movl $nested + 0x1007, nested
        movl $nested + 0x2007, nested + 0x1000
        movl $0xc0000087, nested + 0x1018
        movl $0x87, %eax
        movl $nested + 0x2000, %edi
        movl $32, %ecx
1:      movl %eax, (%rdi)
        addl $0x200000, %eax
        addl $8, %edi
        loop 1b
        movl $nested_fine + 7, nested + 0x2020
        call nested_identity
        movl $pml4, %esi
        movl $other, %edi
        movl $0x800, %ecx
        rep movsq
        movl $other + 0x1003, other
        movl $other + 0x2003, other + 0x1000
        movl $other_fine + 3, other + 0x2020
        movl $0x832003, other_fine + 0x100
        ret

nested_identity:
        movl $0x800007, %eax
        movl $nested_fine, %edi
        movl $512, %ecx
1:      movl %eax, (%rdi)
        addl $0x1000, %eax
        addl $8, %edi
        loop 1b
        ret

# a VM in the host's own mode, at rbp; the registers that `program` sets are kept
new_vm: pushq %rsi
        pushq %rdi
        call nested_identity
        movl $vmcb, %edi
        movl $0x200, %ecx
        xorl %eax, %eax
        rep stosq
        movl $vmcb, %ebx
        movb $0x80, 0x0f(%rbx)                  # intercept shutdown,
        movb $3, 0x10(%rbx)                     # VMRUN and VMMCALL
        movb $1, 0x90(%rbx)                     # nested paging
        movl $nested, 0xb0(%rbx)
        movl $0x0c930010, %eax
        movl %eax, 0x400(%rbx)
        movl %eax, 0x420(%rbx)
        movl %eax, 0x430(%rbx)
        movl $0x0a9b0018, 0x410(%rbx)
        orl $-1, %eax
        movl %eax, 0x404(%rbx)
        movl %eax, 0x414(%rbx)
        movl %eax, 0x424(%rbx)
        movl %eax, 0x434(%rbx)
        movl $31, 0x464(%rbx)
        movl $rom + gdt, 0x468(%rbx)
        movl $0xfff, 0x484(%rbx)
        movl $idt, 0x488(%rbx)
        movl $0x1500, 0x4d0(%rbx)               # EFER: SVME, LMA, LME
        movq %cr4, %rax
        movq %rax, 0x548(%rbx)
        movq %cr3, %rax
        movq %rax, 0x550(%rbx)
        movq %cr0, %rax
        orl $0x10000, %eax                      # WP, which the host does not have
        movq %rax, 0x558(%rbx)
        movl $2, 0x570(%rbx)
        movl $0x7800, 0x5d8(%rbx)
        movl $1, 0x58(%rbx)                     # the tables are new: flush all ASIDs once
        movb $1, 0x5c(%rbx)
        movq $rom + leave, 0x578(%rbx)
        movq %rbx, %rax
        vmrun
        movb $0, 0x5c(%rbx)
        movq %rbp, 0x578(%rbx)
        popq %rdi
        popq %rsi
        xorl %eax, %eax
        ret

# the interrupt gate of vector ecx for the handler at rax
gate:   shll $4, %ecx
        movw %ax, idt(%rcx)
        movw $24, idt + 2(%rcx)
        movw $0x8e00, idt + 4(%rcx)
        shrq $16, %rax
        movw %ax, idt + 6(%rcx)
        ret

debug:  incl events
        iretq

fault:  incl events
        movl $holed + 3, fine + 0x80
        addq $8, %rsp
        iretq

timer:  incl events
        pushq %rax
        movb $0x20, %al
        outb %al, $0x20
        popq %rax
        iretq

# code that is sixteen times INC EAX and RET, 32 bytes in all and one
plant:  movl $code, %edi
        movl $16, %ecx
        movw $0xc0ff, %ax
        rep stosw
        movb $0xc3, (%rdi)
        ret

# a source of 64 KiB that counts bytes, a destination of zeros, no events
prepare:
        movl $source, %edi
        xorl %eax, %eax
1:      movl %eax, (%rdi)
        addl $0x1020305, %eax
        addl $4, %edi
        cmpl $source + 0x10000, %edi
        jne 1b
        movl $target, %edi
1:      movq $0, (%rdi)
        addl $8, %edi
        cmpl $target + 0x10000, %edi
        jne 1b
        movl $0, events
        xorl %eax, %eax
        ret

report: movl %eax, %r9d
        pushfq
        popq %rbx
        subl %r8d, %r9d
        movq %rcx, %r10
        movq %rsi, %r11
        movq %rdi, %r12
        movq %r15, %rsi
        movw $0x3f8, %dx
1:      lodsb
        testb %al, %al
        jz 2f
        outb %al, %dx
        jmp 1b
2:      movl %r9d, %eax
        call hex
        movl events, %eax
        call hex
        movl %r10d, %eax
        call hex
        movl %r11d, %eax
        call hex
        movl %r12d, %eax
        call hex
        movl %ebx, %eax
        andl $0xcd5, %eax                       # OF, DF, SF, ZF, AF, PF, CF
        call hex
        xorl %eax, %eax
        movl $target, %edi
3:      roll $1, %eax
        addl (%rdi), %eax
        addl $4, %edi
        cmpl $target + 0x10000, %edi
        jne 3b
        call hex
        movb $'\n', %al
        outb %al, %dx
        ret

hex:    movl %eax, %r13d
        movb $' ', %al
        outb %al, %dx
        movl $8, %ecx
1:      roll $4, %r13d
        movl %r13d, %eax
        andl $15, %eax
        movb digits(%rax), %al
        outb %al, %dx
        loop 1b
        ret
        .set digits, rom + digits_here
digits_here:
        .ascii "0123456789abcdef"

        .balign 8
gdt:    .quad 0
        .quad 0x00cf9b000000ffff
        .quad 0x00cf93000000ffff
        .quad 0x00af9b000000ffff
gdt_register:
        .word 31
        .long rom + gdt
idt_register:
        .word 0xfff
        .quad idt

        .code16
        .org 0xfff0
        ljmp $0xf000, $start
        .org 0x10000
