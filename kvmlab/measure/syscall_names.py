"""Names for the numbers of the system calls that QEMU makes while it moves packets."""

from __future__ import annotations

# From Linux, arch/x86/entry/syscalls/syscall_64.tbl.
X86_64 = {
    0: "read", 1: "write", 3: "close", 7: "poll", 9: "mmap", 11: "munmap", 16: "ioctl",
    17: "pread64", 18: "pwrite64", 19: "readv", 20: "writev", 24: "sched_yield", 28: "madvise",
    35: "nanosleep", 44: "sendto", 45: "recvfrom", 46: "sendmsg", 47: "recvmsg", 72: "fcntl",
    128: "rt_sigtimedwait", 186: "gettid", 202: "futex", 209: "io_submit", 228: "clock_gettime",
    230: "clock_nanosleep", 232: "epoll_wait", 234: "tgkill", 271: "ppoll", 281: "epoll_pwait",
    286: "timerfd_settime", 295: "preadv", 296: "pwritev", 426: "io_uring_enter",
    441: "epoll_pwait2",
}  # fmt: skip


def syscall_name(number: int) -> str:
    """Return the name of a system call of x86-64, or its number.

    >>> syscall_name(16), syscall_name(999)
    ('ioctl', 'system call 999')
    """
    return X86_64.get(number, f"system call {number}")
