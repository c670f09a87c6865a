# configure_guest.sh MAC ADDRESS/PREFIX PEER SECONDS CHANNELS, inside the VM: find the interface with
# this MAC, use so many queue pairs (0: as the driver likes), give it its address and wait until the
# peer answers ("-": do not). Prints
#   interface NAME
#   driver NAME
#   seconds FOUND CARRIER ANSWERED     (since this script began)
# or one line "failed: …" and exit code 4. Starting a program costs a VM on an emulated host tens of
# milliseconds, so what the shell can do itself is done by the shell.
. ./prelude.sh
mac=$1 address=$2 peer=$3 limit=$4 channels=$5

since() { # sets $seconds to what passed between the script's begin and $1
    passed=$(($1 - begun))
    part=$((passed % 100))
    [ "$part" -lt 10 ] && part=0$part
    seconds=$((passed / 100)).$part
}

now
begun=$now
end=$((begun + limit * 100))

wait_for() { # wait_for WHAT COMMAND...: again and again until it is true or the time is over
    what=$1
    shift
    until "$@"; do
        now
        if [ "$now" -ge "$end" ]; then
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

has_carrier() {
    carrier=0
    read -r carrier 2>/dev/null <"/sys/class/net/$interface/carrier"
    [ "$carrier" = 1 ]
}

answers() { [ "$peer" = - ] || ping -n -q -c 1 -W 1 "$peer" >/dev/null 2>&1; }

wait_for "an interface with the MAC $mac" find_interface
now
found_at=$now
driver=$(readlink "/sys/class/net/$interface/device/driver")
driver=${driver##*/}
# The e1000's PHY negotiates for half a second after its reset. Its driver looks for the link when
# the interface goes up, and when it finds none it looks again only two seconds later.
[ "$driver" = e1000 ] && sleep 0.5
# A question for the peer's MAC that is lost while the card wakes up is asked again after a second.
echo 100 2>/dev/null >"/proc/sys/net/ipv4/neigh/$interface/retrans_time_ms"
if [ "$channels" != 0 ] && ! ethtool -L "$interface" combined "$channels"; then
    # ethtool calls it a failure when nothing had to change.
    ethtool -l "$interface" | tail -n 2 | grep -qx "Combined:[[:space:]]*$channels" || {
        echo "failed: $interface did not take $channels channels"
        exit 4
    }
fi
if ! ip address replace "$address" dev "$interface" || ! ip link set dev "$interface" up; then
    echo "failed: $interface did not take its address"
    exit 4
fi
wait_for "a link on $interface" has_carrier
now
carrier_at=$now
wait_for "an answer from $peer" answers
now
answered_at=$now
since "$found_at" && found_sec=$seconds
since "$carrier_at" && carrier_sec=$seconds
since "$answered_at"
echo "interface $interface"
echo "driver $driver"
echo "seconds $found_sec $carrier_sec $seconds"
