# host_asks.sh ADDRESS PORT: ask from the host, through PORT or the bridge that it is in, who has
# ADDRESS, and print the device and the state of the answer:
#   asked kvmlab0 REACHABLE
#   asked p2p1 FAILED
# A ping bound to a device needs no address of the host there: what counts is the answer to ARP, not
# the one to the ping. What was learned is forgotten again.
address=$1
device=$2
if [ -e "/sys/class/net/$2/master" ]; then
    device=$(readlink "/sys/class/net/$2/master")
    device=${device##*/}
fi
ping -n -q -c 2 -i 0.2 -W 1 -I "$device" "$address" >/dev/null 2>&1
found=$(ip neighbour show to "$address" dev "$device")
echo "asked $device ${found##* }"
ip neighbour flush to "$address" dev "$device" >/dev/null 2>&1
exit 0
