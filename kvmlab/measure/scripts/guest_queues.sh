# Counters of each queue pair of a virtio NIC, inside the VM. Run: sh -s -- INTERFACE
device=$(readlink -f "/sys/class/net/$1/device")
echo "=== device"
echo "${device##*/}"
echo "=== packets"
# By its path: a shell of busybox would take its own tc, which counts nothing.
for tc in /usr/sbin/tc /sbin/tc /usr/bin/tc; do
    [ -x $tc ] && { $tc -s qdisc show dev "$1"; break; }
done
echo "=== interrupts"
cat /proc/interrupts
echo "=== end"
