# change_state.sh KIND TARGET NAME VALUE: bring one state of the host to a value; see host_state.py.
# A target that is gone has nothing to bring back. What a person changed meanwhile does no harm.
kind=$1 target=$2 name=$3 value=$4
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
case $kind in
    file | up | master | qdisc | police | feature | ring | coalesce | fdb | pvid | vf | stp | spanning-tree | macvtap)
        [ -e "/sys/class/net/$target" ] || exit 0
        ;;
esac
case $kind in
    file)
        echo "$value" >"/sys/class/net/$target/$name" || exit
        # What a port has learnt is otherwise known for minutes.
        [ "$name" != brport/learning ] || echo 1 >"/sys/class/net/$target/brport/flush"
        ;;
    up) ip link set dev "$target" "$value" ;;
    master)
        if [ "$value" = none ]; then
            ip link set dev "$target" nomaster
        else
            ip link set dev "$target" master "$value"
        fi
        ;;
    qdisc)
        if [ "$value" = none ]; then
            tc qdisc delete dev "$target" root 2>/dev/null || true
        else
            # shellcheck disable=SC2046  # words
            tc qdisc replace dev "$target" root $(echo "$value" | tr _ ' ')
        fi
        ;;
    police)
        tc qdisc delete dev "$target" clsact 2>/dev/null
        [ "$value" = none ] ||
            { tc qdisc add dev "$target" clsact && tc filter add dev "$target" ingress matchall \
                action police rate "$value" burst 30k drop; }
        ;;
    feature) ethtool -K "$target" "$name" "$value" >/dev/null ;;
    ring) ethtool -G "$target" "$name" "$value" ;;
    coalesce) ethtool -C "$target" "$name" "$value" ;;
    module)
        if [ "$value" = on ]; then
            modprobe "$target"
        else
            # Not modprobe -r: that takes along what nothing else uses, such as the bridge module.
            [ ! -e "/sys/module/$target" ] || rmmod "$target"
        fi
        ;;
    rule)
        # shellcheck disable=SC2086  # words
        case $name in
            bridged) match="-m physdev --physdev-is-bridged" ;;
            long) match="-m length --length 1000:65535" ;;
            every) match="-m statistic --mode nth --every 12 --packet 0" ;;
            *) exit 2 ;;
        esac
        # shellcheck disable=SC2086  # words
        if [ "$value" = on ]; then
            iptables -I FORWARD $match -j DROP
        else
            while iptables -D FORWARD $match -j DROP 2>/dev/null; do :; done
        fi
        ;;
    mac-filter)
        if [ "$value" = on ]; then
            ebtables -I "$target" -s "$name" -j DROP
        else
            while ebtables -D "$target" -s "$name" -j DROP 2>/dev/null; do :; done
        fi
        ;;
    fdb)
        if [ "$value" = on ]; then
            bridge fdb replace "$name" dev "$target" master static sticky
        else
            bridge fdb delete "$name" dev "$target" master 2>/dev/null || true
        fi
        ;;
    pvid)
        now=$(bridge vlan show dev "$target" | sed -n 's/.* \([0-9][0-9]*\) PVID.*/\1/p')
        [ -z "$now" ] || [ "$now" = "$value" ] || bridge vlan delete dev "$target" vid "$now"
        bridge vlan add dev "$target" vid "$value" pvid untagged
        ;;
    vf) ip link set dev "$target" vf "$name" vlan "$value" ;;
    quota)
        group=/sys/fs/cgroup/$name
        if [ "$value" = none ]; then
            [ ! -d "$group" ] || {
                while read -r process; do
                    echo "$process" >/sys/fs/cgroup/cgroup.procs
                done <"$group/cgroup.procs"
                rmdir "$group"
            }
        else
            mkdir -p "$group" && echo +cpu >/sys/fs/cgroup/cgroup.subtree_control &&
                echo "$value 100000" >"$group/cpu.max" &&
                cat "/run/libvirt/qemu/$target.pid" >"$group/cgroup.procs"
        fi
        ;;
    limit)
        virsh -q domiftune "$target" "$name" --inbound "$value" --outbound "$value" >/dev/null ||
            ! virsh -q domiflist "$target" | grep -q "^ *$name "
        ;;
    plug)
        virsh -q domif-setlink "$target" "$name" "$value" >/dev/null ||
            ! virsh -q domiflist "$target" | grep -q "^ *$name "
        ;;
    stp)
        # By hand only where the kernel's own spanning tree is off.
        [ ! -e "/sys/class/net/$target/brport" ] || bridge link set dev "$target" state "$value"
        ;;
    spanning-tree)
        folder=/sys/class/net/$target
        if [ "$value" = none ]; then
            echo 0 >"$folder/bridge/stp_state" && echo 0 >"$folder/bridge/forward_delay" || exit
            for member in "$folder/brif"/*; do
                bridge link set dev "${member##*/}" state forwarding
            done
        else
            echo 1 >"$folder/bridge/stp_state" && echo "${value}00" >"$folder/bridge/forward_delay" || exit
            # It holds for ports that come up from now on, as a tap does with its VM.
            for member in "$folder/brif"/vnet*; do
                ip link set dev "${member##*/}" down && ip link set dev "${member##*/}" up || exit
            done
        fi
        ;;
    macvtap) ip link set dev "$target" type macvtap mode "$value" ;;
    near)
        if [ "$value" = none ]; then
            [ ! -e "/run/netns/$name" ] || ip netns delete "$name"
        else
            ip netns add "$name" && ip link add link "$target" name near0 netns "$name" type macvlan mode bridge &&
                ip -n "$name" address add "$value" dev near0 && ip -n "$name" link set near0 up
        fi
        ;;
    nice)
        for task in "/proc/$(cat "/run/libvirt/qemu/$target.pid")/task"/*; do
            case $(cat "$task/comm") in vhost-*) renice -n "$value" -p "${task##*/}" >/dev/null || exit ;; esac
        done
        ;;
    *) exit 2 ;;
esac
