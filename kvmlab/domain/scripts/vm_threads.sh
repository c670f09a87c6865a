# vm_threads.sh NAME: print the QEMU process of a domain and its threads, one a line:
#   process PID
#   task TID NAME OF THE THREAD
#   kernel PID vhost-PID          (a vhost worker that is a kernel thread of its own)
name=$1
pid=$(cat "/run/libvirt/qemu/$name.pid" 2>/dev/null)
if [ -z "$pid" ]; then
    # shellcheck disable=SC2013  # no path in /proc has a blank
    for file in $(grep -lasF -e "guest=$name," /proc/[0-9]*/cmdline 2>/dev/null); do
        candidate=${file#/proc/}
        candidate=${candidate%/cmdline}
        # grep itself has these words in its command line, and so may others; QEMU runs vCPUs.
        grep -qs '^CPU 0/' "/proc/$candidate/task/"*/comm && pid=$candidate
    done
fi
[ -n "$pid" ] && [ -d "/proc/$pid/task" ] || exit 3
echo "process $pid"
for task in "/proc/$pid/task/"*; do
    read -r comm <"$task/comm" && echo "task ${task##*/} $comm"
done
# Kernel threads before Linux 6.4, threads of QEMU since; either where the kernel has fork_from_owner.
read -r release </proc/sys/kernel/osrelease
major=${release%%.*} minor=${release#*.}
minor=${minor%%[!0-9]*}
if [ ! -e /sys/module/vhost/parameters/fork_from_owner_default ]; then
    [ "$major" -gt 6 ] || { [ "$major" -eq 6 ] && [ "$minor" -ge 4 ]; } && exit 0
fi
# shellcheck disable=SC2013
for worker in $(grep -lsx "vhost-$pid" /proc/[0-9]*/comm 2>/dev/null); do
    worker=${worker#/proc/}
    echo "kernel ${worker%/comm} vhost-$pid"
done
exit 0
