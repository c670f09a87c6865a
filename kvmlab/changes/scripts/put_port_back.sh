# put_port_back.sh PCI-ADDRESS DRIVER OVERRIDE NAME NAMESPACE up|down MTU MAC [ADDRESS/PREFIX...]:
# whatever became of a port, bring it back to its driver, its driver_override ("-": none), its name,
# its namespace ("-": the host's own) and its settings. A second time does nothing.
address=$1 driver=$2 override=$3 name=$4 netns=$5 switch=$6 mtu=$7 mac=$8
shift 8
[ "$override" = - ] && override=
device=/sys/bus/pci/devices/$address

inside() { # in the port's namespace
    if [ "$netns" = - ]; then "$@"; else ip netns exec "$netns" "$@"; fi
}

seconds() {
    read -r up rest </proc/uptime
    echo "${up%.*}"
}

# A lab that died while it loaded the driver anew leaves the host without it.
[ -d "/sys/bus/pci/drivers/$driver" ] || modprobe "$driver" || exit 4

bound=$(readlink "$device/driver")
bound=${bound##*/}
echo "$override" >"$device/driver_override" || exit 4
if [ "$bound" != "$driver" ]; then
    [ -z "$bound" ] || echo "$address" >"$device/driver/unbind"
    echo "$address" >/sys/bus/pci/drivers_probe || exit 4
fi

# The driver may make its interface a moment later, and udev may rename it after that.
end=$(($(seconds) + 20))
until [ "$(inside ls "$device/net" 2>/dev/null)" = "$name" ]; do
    found=$(ls "$device/net" 2>/dev/null)
    if [ -n "$found" ]; then
        ip link set dev "$found" down
        [ "$found" = "$name" ] || ip link set dev "$found" name "$name"
        [ "$netns" = - ] || ip link set dev "$name" netns "$netns"
    fi
    if [ "$(seconds)" -ge "$end" ]; then
        echo "$name did not appear at $address within 20 s" >&2
        exit 4
    fi
    sleep 0.1
done

inside ip link set dev "$name" mtu "$mtu" || exit 4
[ "$(inside cat "/sys/class/net/$name/address")" = "$mac" ] ||
    inside ip link set dev "$name" address "$mac" || exit 4
inside ip link set dev "$name" "$switch" || exit 4
for own do
    inside ip address replace "$own" dev "$name" || exit 4
done
