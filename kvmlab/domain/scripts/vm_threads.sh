# vm_threads.sh NAME: print the QEMU process of a domain and its threads, one a line:
#   process PID
#   task TID NAME OF THE THREAD
#   kernel PID vhost-PID          (workers that are kernel threads of their own, before Linux 6.4)
name=$1
pid=$(cat "/run/libvirt/qemu/$name.pid" 2>/dev/null)
if [ -z "$pid" ]; then
    for file in $(grep -lasF -e "guest=$name," /proc/[0-9]*/cmdline 2>/dev/null); do
        found=${file#/proc/}
        found=${found%/cmdline}
        # grep itself has these words in its command line, and so may others; QEMU runs vCPUs.
        grep -qs '^CPU 0/' "/proc/$found/task/"*/comm && pid=$found
    done
fi
[ -n "$pid" ] && [ -d "/proc/$pid/task" ] || exit 3
echo "process $pid"
for task in "/proc/$pid/task/"*; do
    read -r comm <"$task/comm" && echo "task ${task##*/} $comm"
done
read -r release </proc/sys/kernel/osrelease
major=${release%%.*} minor=${release#*.}
minor=${minor%%[!0-9]*}
[ "$major" -gt 6 ] || { [ "$major" -eq 6 ] && [ "$minor" -ge 4 ]; } && exit 0
for worker in $(grep -lsx "vhost-$pid" /proc/[0-9]*/comm 2>/dev/null); do
    worker=${worker#/proc/}
    echo "kernel ${worker%/comm} vhost-$pid"
done
exit 0
