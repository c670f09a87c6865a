# put_port_back.sh PCI-ADDRESS DRIVER OVERRIDE NAME NAMESPACE up|down MTU MAC [ADDRESS/PREFIX...]
#     [+ NAME up|down MTU MAC [ADDRESS/PREFIX...]]...:
# whatever became of a port, bring it back to its driver, its driver_override ("-": none), the names
# of its interfaces, its namespace ("-": the host's own) and its settings. A second time does nothing.
# Interfaces of the function that are not named are left alone.
. ./prelude.sh
address=$1 driver=$2 override=$3 name=$4 netns=$5
shift 5
set -- "$name" "$@" # NAME, switch, MTU, MAC and addresses; "+" before the next
[ "$override" = - ] && override=
device=/sys/bus/pci/devices/$address

inside() { # in the port's namespace
    if [ "$netns" = - ]; then "$@"; else ip netns exec "$netns" "$@"; fi
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

field() { # WORD-NUMBER WORD...: that word of each interface, a line each
    wanted=$1 number=0
    shift
    for word; do
        number=$((number + 1))
        [ "$word" = + ] && number=0
        [ "$number" -ne "$wanted" ] || printf '%s\n' "$word"
    done
}
names=$(field 1 "$@")
macs=$(field 4 "$@")

has() { # LINES LINE
    printf '%s\n' "$1" | grep -qxF -e "$2"
}

# The interface that is to be NAME with MAC: that with this MAC, else the first without a name of ours.
candidate() {
    first=
    interfaces=$(ls "$device/net" 2>/dev/null)
    for present in $interfaces; do
        has "$names" "$present" && continue
        own=$(cat "/sys/class/net/$present/address" 2>/dev/null)
        if [ "$own" = "$2" ]; then
            echo "$present"
            return
        fi
        has "$macs" "$own" || first=${first:-$present}
    done
    [ -z "$first" ] || echo "$first"
}

# Bring each interface that is there to its name and namespace; succeed when all are.
bring_names_back() {
    back=yes
    for name in $names; do
        has "$(inside ls "$device/net" 2>/dev/null)" "$name" && continue
        back=no
        current=$name
        if ! has "$(ls "$device/net" 2>/dev/null)" "$name"; then
            number=$(printf '%s\n' "$names" | grep -nxF -e "$name" | cut -d: -f1)
            current=$(candidate "$name" "$(printf '%s\n' "$macs" | sed -n "${number}p")")
        fi
        [ -n "$current" ] || continue
        ip link set dev "$current" down
        [ "$current" = "$name" ] || ip link set dev "$current" name "$name"
        [ "$netns" = - ] || ip link set dev "$name" netns "$netns"
    done
    [ $back = yes ]
}

# The driver may make its interfaces a moment later, and udev may rename them after that.
now
end=$((now + 2000))
until bring_names_back; do
    now
    if [ "$now" -ge "$end" ]; then
        printf '%s did not appear at %s within 20 s\n' "$(echo "$names" | tr '\n' ' ')" "$address" >&2
        exit 4
    fi
    sleep 0.1
done

restore() { # NAME up|down MTU MAC [ADDRESS/PREFIX...]
    name=$1 switch=$2 mtu=$3 mac=$4
    shift 4
    inside ip link set dev "$name" mtu "$mtu" || exit 4
    [ "$(inside cat "/sys/class/net/$name/address")" = "$mac" ] ||
        inside ip link set dev "$name" address "$mac" || exit 4
    inside ip link set dev "$name" "$switch" || exit 4
    for own; do
        inside ip address replace "$own" dev "$name" || exit 4
    done
}

settings=
for word in "$@" +; do
    if [ "$word" = + ]; then
        # shellcheck disable=SC2086  # names, numbers and addresses hold no blanks
        restore $settings
        settings=
    else
        settings="$settings $word"
    fi
done
