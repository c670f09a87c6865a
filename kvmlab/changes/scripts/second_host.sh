# second_host.sh up|down FOLDER NAME UUID BRIDGE [PORT [PF ADDRESS POOL TAPS]]: a second KVM host inside
# this one, made of a libvirtd in network, UTS and mount namespaces of its own. Both share the kernel,
# /dev/kvm and so the clock. FOLDER holds its state; NAME is its host name and its network namespace;
# UUID its host_uuid, since libvirt refuses to migrate to a host of the same name or UUID. BRIDGE is made
# in it, and PORT moves into it and onto the bridge. PF, at the PCI address ADDRESS, moves into it from
# whatever namespace it is in, and gets two VFs, which libvirt's networks hand out: POOL as it is, TAPS below
# a macvtap; "down" leaves PF in the host's own namespace. Each action can be repeated: "up" without ports
# starts a libvirtd that has died, "down" ends the VMs in it.
. ./prelude.sh
action=$1 folder=$2 name=$3 uuid=$4 bridge=$5 port=$6 pf=$7 address=$8 pool=$9
taps=${10}
function=/sys/bus/pci/devices/$address
socket=$folder/run/libvirt-sock
mark=kvmlab-second

fail() {
    echo "$1" >&2
    exit 4
}

answers() { virsh -q -c "qemu+unix:///system?socket=$socket" hostname >/dev/null 2>&1; }

make_folder() {
    mkdir -p "$folder/run" "$folder/lib" "$folder/etc" "$folder/log/qemu" || fail "$folder cannot be made"
    if ! cp -a /etc/libvirt/. "$folder/etc/" || ! cp -a /var/lib/libvirt/. "$folder/lib/"; then
        fail "the settings of libvirt cannot be copied to $folder"
    fi
    rm -f "$folder"/etc/qemu/*.xml "$folder"/etc/qemu/networks/*.xml
    echo "host_uuid = \"$uuid\"" >>"$folder/etc/libvirtd.conf"
    fresh=yes
}

make_namespace() {
    [ ! -e "/run/netns/$name" ] || return 0
    ip netns add "$name" || fail "the namespace $name cannot be made"
    ip netns exec "$name" sysctl -qw net.ipv6.conf.all.disable_ipv6=1
    ip -n "$name" link set dev lo up
}

make_network() {
    if ! ip -n "$name" link show dev "$bridge" >/dev/null 2>&1; then
        ip -n "$name" link add name "$bridge" type bridge stp_state 0 forward_delay 0 \
            mcast_snooping 0 || fail "the bridge $bridge cannot be made in $name"
    fi
    ip -n "$name" link set dev "$bridge" up
    [ ! -e "/sys/class/net/$port" ] || ip link set dev "$port" netns "$name" ||
        fail "$port cannot be moved into $name"
    ip -n "$name" link set dev "$port" master "$bridge" up || fail "$port cannot join $bridge"
}

has_link() {
    carrier=0
    read -r carrier 2>/dev/null <"/sys/class/net/$1/carrier"
    [ "$carrier" = 1 ]
}

take_vf() { # the second VF gets the host's driver, and its interface comes a moment later
    vf=$(basename "$(readlink -f "$function/virtfn1")")
    # Where VFs get no driver by themselves, one that is named for them does.
    echo igbvf >"/sys/bus/pci/devices/$vf/driver_override" && echo "$vf" >/sys/bus/pci/drivers_probe
    now
    end=$((now + 1000))
    until [ "$now" -ge "$end" ]; do
        for path in "/sys/bus/pci/devices/$vf/net"/*; do
            [ -e "$path" ] || continue
            ip link set dev "${path##*/}" netns "$name" name "${pf}v1" && return
        done
        sleep 0.05
        now
    done
    fail "the VF $vf gets no interface"
}

take_function() { # it starts anew when a VF comes, and a VF of one that is off gets no MAC
    for path in /run/netns/*; do
        [ "${path##*/}" = "$name" ] || ip -n "${path##*/}" link set dev "$pf" netns "$name" 2>/dev/null
    done
    [ ! -e "/sys/class/net/$pf" ] || ip link set dev "$pf" netns "$name"
    # There is nobody on the host who would load it when the VF comes.
    if [ ! -e /sys/module/igbvf ]; then
        modprobe igbvf && : >"$folder/igbvf"
    fi
    read -r vfs <"$function/sriov_numvfs"
    if [ "$vfs" = 0 ]; then
        # One that gets a driver again after each VM would be in the host's own namespace then.
        echo 0 >"$function/sriov_drivers_autoprobe"
        # A port that is off, as it is after the move, has nothing to start anew.
        echo 2 >"$function/sriov_numvfs" || fail "$pf gets no VFs"
    fi
    # Its link comes half a second later; nothing here waits for that.
    ip -n "$name" link set dev "$pf" up || fail "$pf cannot be moved into $name"
    ip -n "$name" link show dev "${pf}v1" >/dev/null 2>&1 || take_vf
}

make_networks() { # both name a VF, but neither needs more of it than its place on the PCI bus
    now
    end=$((now + 3000))
    until [ -e "$function/virtfn0" ]; do
        now
        [ "$now" -lt "$end" ] || fail "$pf has no VFs after 30 s"
        sleep 0.05
    done
    vf=$(basename "$(readlink -f "$function/virtfn0")")
    at=$(echo "$vf" | sed "s/\(.*\):\(.*\):\(.*\)\.\(.*\)/domain='0x\1' bus='0x\2' slot='0x\3' function='0x\4'/")
    known=
    [ -n "$fresh" ] ||
        known=$(virsh -q -c "qemu+unix:///system?socket=$socket" net-list --name | tr '\n' ' ')
    commands=
    add_pool "$pool" "<forward mode='hostdev' managed='yes'><address type='pci' $at/></forward>"
    add_pool "$taps" "<forward mode='passthrough'><interface dev='${pf}v1'/></forward>"
    [ -z "$commands" ] || virsh -q -c "qemu+unix:///system?socket=$socket" "$commands" >/dev/null ||
        fail "the networks $pool and $taps cannot be made in $name"
}

add_pool() { # add_pool NAME FORWARD: each virsh takes a fifth of a second, so one makes all networks
    case " $known " in *" $1 "*) return ;; esac
    echo "<network><name>$1</name>$2</network>" >"$folder/$1.xml"
    commands="$commands net-create $folder/$1.xml;"
}

runs() { # its libvirtd, whose file has no end of line; one that was killed is gone a moment later
    [ -s "$folder/run/second.pid" ] || return
    process=/proc/$(cat "$folder/run/second.pid")
    grep -qx libvirtd "$process/comm" 2>/dev/null && ! grep -q '^State:.[ZX]' "$process/status" 2>/dev/null
}

start_daemon() {
    # shellcheck disable=SC2016  # its own shell expands it
    ip netns exec "$name" unshare -u -m sh -c '
        hostname "$1"
        mount --bind "$2/run" /run/libvirt && mount --bind "$2/lib" /var/lib/libvirt &&
            mount --bind "$2/etc" /etc/libvirt && mount --bind "$2/log" /var/log/libvirt || exit 1
        exec libvirtd -d -p /run/libvirt/second.pid
    ' sh "$name" "$folder" </dev/null >/dev/null 2>"$folder/start.log" &
    daemon=$!
}

await_daemon() {
    now
    end=$((now + 6000))
    while :; do
        # With -d it returns once its socket is there.
        [ -z "$daemon" ] || wait "$daemon" || fail "libvirtd does not start: $(cat "$folder/start.log")"
        daemon=''
        answers && return
        # What ran at first was about to end.
        runs || start_daemon
        now
        [ "$now" -lt "$end" ] || fail "the libvirtd of $name does not answer after 60 s"
        sleep 0.1
    done
}

end_processes() {
    now
    begun=$now
    while pids=$(ip netns pids "$name") && [ -n "$pids" ]; do
        now
        signal=TERM
        [ "$now" -lt $((begun + 500)) ] || signal=KILL
        [ "$now" -lt $((begun + 2000)) ] || fail "processes of $name do not end: $pids"
        for pid in $pids; do
            read_start "$pid"
            found=$process_start
            # Listed some time ago: what has its number since is not in the namespace.
            [ "$(ip netns identify "$pid")" != "$name" ] || signal_process "$signal" "$pid" "$found"
        done
        sleep 0.1
    done
}

await_link() { # it comes a moment after the port; without one, that is no failure
    now
    begun=$now
    until has_link "$1"; do
        now
        [ "$now" -lt $((begun + 1000)) ] || return
        sleep 0.05
    done
}

name_hosts() { # libvirt looks both up several times in a migration: without a name server, 10 s each
    for known in "$(hostname)" "$name"; do
        grep -qw -- "$known" /etc/hosts || echo "127.0.1.1 $known # $mark" >>/etc/hosts
    done
}

case $action in
up)
    if [ -n "$port" ]; then
        mkdir -p "$folder" && echo "$port $pf $address $pool $taps" >"$folder/ports"
    else
        read -r port pf address pool taps <"$folder/ports" || fail "there is no second host in $folder"
        function=/sys/bus/pci/devices/$address
    fi
    name_hosts
    fresh='' daemon=''
    make_namespace
    # A port with VFs is reset three times, and sleeps for most of it: libvirtd starts meanwhile.
    [ -z "$pf" ] || take_function &
    taken=$!
    [ -s "$folder/etc/libvirtd.conf" ] || make_folder
    runs || start_daemon
    make_network
    await_daemon
    [ -z "$pf" ] || make_networks
    wait "$taken" || exit
    ;;
down)
    if [ -e "/run/netns/$name" ]; then
        end_processes
        if [ -n "$pf" ]; then
            echo 0 >"$function/sriov_numvfs"
            echo 1 >"$function/sriov_drivers_autoprobe"
        fi
        [ ! -e "$folder/igbvf" ] || modprobe -r igbvf
        ip -n "$name" link set dev "$port" nomaster 2>/dev/null
        for interface in $port $pf; do
            # Into the namespace of process 1, which is the host's own.
            ip -n "$name" link set dev "$interface" netns 1 2>/dev/null
        done
        ip netns delete "$name" || fail "the namespace $name cannot be removed"
    fi
    ip link set dev "$port" up || fail "$port did not come back from $name"
    await_link "$port"
    sed "/ # $mark\$/d" /etc/hosts >"/run/$mark.hosts" && cat "/run/$mark.hosts" >/etc/hosts
    rm -rf "$folder" "/run/$mark.hosts"
    ;;
esac
