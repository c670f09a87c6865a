# configure_guest.sh MAC ADDRESS/PREFIX PEER SECONDS, inside the VM: find the interface with this
# MAC, give it its address and wait until the peer answers. Prints
#   interface NAME
#   driver NAME
#   seconds FOUND CARRIER ANSWERED     (since this script began)
# or one line "failed: …" and exit code 4.
mac=$1 address=$2 peer=$3 limit=$4

now() {
    read -r up rest </proc/uptime
    whole=${up%.*}
    part=${up#*.}
    echo $((whole * 100 + ${part#0}))
}

begun=$(now)
end=$((begun + limit * 100))

# wait_for WHAT COMMAND...: again and again until it is true or the time is over
wait_for() {
    what=$1
    shift
    until "$@"; do
        if [ "$(now)" -ge "$end" ]; then
            echo "failed: $what did not happen within $limit s"
            ip address show 2>&1
            exit 4
        fi
        sleep 0.05
    done
}

find_interface() {
    for path in /sys/class/net/*; do
        read -r found 2>/dev/null <"$path/address" || continue
        # A bond or a VLAN on the interface shows the same MAC; only the card has a device.
        if [ "$found" = "$mac" ] && [ -e "$path/device" ]; then
            interface=${path##*/}
            return 0
        fi
    done
    return 1
}

has_carrier() { [ "$(cat "/sys/class/net/$interface/carrier" 2>/dev/null)" = 1 ]; }
answers() { ping -n -q -c 1 -W 1 "$peer" >/dev/null 2>&1; }
seconds() { echo "$((($1 - begun) / 100)).$(printf %02d $((($1 - begun) % 100)))"; }

wait_for "an interface with the MAC $mac" find_interface
found_at=$(now)
ip address replace "$address" dev "$interface" && ip link set dev "$interface" up || {
    echo "failed: $interface did not take its address"
    exit 4
}
wait_for "a link on $interface" has_carrier
carrier_at=$(now)
wait_for "an answer from $peer" answers
driver=$(readlink "/sys/class/net/$interface/device/driver")
echo "interface $interface"
echo "driver ${driver##*/}"
echo "seconds $(seconds "$found_at") $(seconds "$carrier_at") $(seconds "$(now)")"
