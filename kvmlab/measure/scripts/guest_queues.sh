# What each queue pair of a virtio card carried so far, seen from inside the VM. Run: sh -s -- INTERFACE
device=$(readlink -f "/sys/class/net/$1/device")
echo "=== device"
echo "${device##*/}"
echo "=== packets"
ethtool -S "$1"
echo "=== interrupts"
cat /proc/interrupts
echo "=== end"
