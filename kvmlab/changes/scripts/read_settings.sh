# read_settings.sh PATH...: print a section "settings" with the text of each path that is there as that of
# a file; see kvmlab/hosts/script_output.py. A link reads as the last part of its target, a directory
# and a libvirt network as "present", the flags of a network device as "up" or "down".
# feature:DEVICE/NAME[@NAMESPACE] reads as "on" or "off", coalesce:DEVICE/NAME[@NAMESPACE] as its number,
# chain:TOOL/NAME as the number of its rules, xdp:DEVICE and capture:DEVICE as "present", pinning:DOMAIN as "none", "together" or "apart", qdisc:DEVICE as its root's name; /PATH@NAMESPACE as that file there.
# meters:second reads as "present" where second_meters.sh holds programs; record:EVENT as "NAME:OFFSET..." of the
# fields of a tracepoint's record, vcpus:DOMAIN as the ids of a VM's process and of its vCPUs' threads.
# port:PCI-ADDRESS[@NAMESPACE] reads as driver, "only" and its driver_override where one is written,
# and for each interface there name, "up" or "down", "mtu N", MAC and addresses.
# state,KIND,TARGET,NAME reads as that state of the host (host_state.py), nothing where the target is
# gone; with =VALUE behind it as "present" where it has that value, and is missing otherwise.
. ./prelude.sh
read_state() { # read_state KIND TARGET NAME: prints the value
    net=/sys/class/net/$2
    case $1 in
        file) cat "$net/$3" 2>/dev/null ;;
        up) [ -e "$net" ] && if [ $(($(cat "$net/flags") & 1)) -eq 1 ]; then echo up; else echo down; fi ;;
        master)
            text=$(readlink "$net/master")
            [ -e "$net" ] && text=${text##*/} && echo "${text:-none}"
            ;;
        qdisc)
            [ -e "$net" ] && case $(tc qdisc show dev "$2" root 2>/dev/null) in
                *"qdisc netem"*) echo netem ;;
                *"qdisc tbf"*) echo tbf ;;
                *"qdisc pfifo "*) echo pfifo ;;
                *) echo none ;;
            esac
            ;;
        police)
            [ -e "$net" ] && tc filter show dev "$2" ingress 2>/dev/null |
                sed -n 's/.*police.* rate \([0-9]*\)Mbit.*/\1mbit/p' | grep . || echo none
            ;;
        feature) ethtool -k "$2" 2>/dev/null | sed -n "s/^[[:space:]]*$3: \(on\|off\).*/\1/p" ;;
        ring)
            ethtool -g "$2" 2>/dev/null | sed '1,/Current/d' | tr '[:upper:]' '[:lower:]' |
                sed -n "s/^$3:[[:space:]]*//p"
            ;;
        coalesce) ethtool -c "$2" 2>/dev/null | sed -n "s/^$3:[[:space:]]*//p" ;;
        module) if [ -e "/sys/module/$2" ]; then echo on; else echo off; fi ;;
        rule)
            case $3 in
                bridged) text=--physdev-is-bridged ;;
                long) text='--length 1000:65535' ;;
                *) text='--mode nth' ;;
            esac
            if iptables -S FORWARD 2>/dev/null | grep -q -e "$text.*DROP"; then echo on; else echo off; fi
            ;;
        mac-filter) if ebtables -L "$2" 2>/dev/null | grep -qi -e "-s $3 "; then echo on; else echo off; fi ;;
        fdb)
            if bridge fdb show dev "$2" 2>/dev/null | grep -qi "^$3 .*static"; then
                echo on
            else
                echo off
            fi
            ;;
        pvid) bridge vlan show dev "$2" 2>/dev/null | sed -n 's/.* \([0-9][0-9]*\) PVID.*/\1/p' ;;
        vf)
            text=$(ip link show dev "$2" 2>/dev/null | grep "^ *vf $3 ")
            [ -n "$text" ] && case $text in
                *" vlan "*)
                    text=${text#*" vlan "}
                    text=${text%%[!0-9]*}
                    echo "$text"
                    ;;
                *) echo 0 ;;
            esac
            ;;
        quota)
            if [ -d "/sys/fs/cgroup/$3" ]; then
                text=$(cat "/sys/fs/cgroup/$3/cpu.max")
                echo "${text%% *}"
            else
                echo none
            fi
            ;;
        limit)
            virsh -q domiftune "$2" "$3" 2>/dev/null |
                sed -n 's/^inbound.average *: *//p'
            ;;
        plug) virsh -q domif-getlink "$2" "$3" 2>/dev/null | sed 's/.* //' ;;
        stp)
            case $(cat "$net/brport/state" 2>/dev/null) in
                0) echo disabled ;;
                1) echo listening ;;
                2) echo learning ;;
                3) echo forwarding ;;
                4) echo blocking ;;
            esac
            ;;
        spanning-tree)
            case $(cat "$net/bridge/stp_state" 2>/dev/null) in
                0) echo none ;;
                1) sed 's/00$//' "$net/bridge/forward_delay" ;;
            esac
            ;;
        macvtap) ip -d link show dev "$2" 2>/dev/null | sed -n 's/.*macvtap *mode \([a-z]*\).*/\1/p' ;;
        near)
            [ -e "$net" ] && {
                ip -n "$3" -o -4 address show dev near0 2>/dev/null |
                    sed -n 's/.* inet \([0-9./]*\) .*/\1/p' | grep . || echo none
            }
            ;;
        nice)
            for task in "/proc/$(cat "/run/libvirt/qemu/$2.pid" 2>/dev/null)/task"/*; do
                case $(cat "$task/comm" 2>/dev/null) in
                    # The 19th word, counted from behind the name, which may have blanks.
                    vhost-*) sed 's/.*) //' "$task/stat" | cut -d' ' -f17 && break ;;
                esac
            done
            ;;
    esac
}
read_port() { # sets $text
    netns=
    case $1 in *@*) netns=${1#*@} ;; esac
    device=/sys/bus/pci/devices/${1%@*}
    inside=${netns:+ip netns exec $netns}
    text=$(readlink "$device/driver")
    text=${text##*/}
    text=${text:-none}
    read -r only <"$device/driver_override"
    [ -z "$only" ] || [ "$only" = "(null)" ] || text="$text only $only"
    # shellcheck disable=SC2046,SC2086  # words, or nothing
    for name in $($inside ls "$device/net" 2>/dev/null); do
        # shellcheck disable=SC2086
        shown=$($inside ip -o address show dev "$name" scope global | while read -r _ _ _ own _; do
            printf ' %s\n' "$own"
        done | sort | tr -d '\n')
        # shellcheck disable=SC2046,SC2086
        set -- $($inside cat "/sys/class/net/$name/flags" "/sys/class/net/$name/mtu" \
            "/sys/class/net/$name/address")
        if [ $(($1 & 1)) -eq 1 ]; then switch=up; else switch=down; fi
        text="$text $name $switch mtu $2 $3$shown"
    done
}

read_ethtool() { # read_ethtool OPTION DEVICE/NAME[@NAMESPACE]: sets $text to what stands behind "NAME:"
    name=${2%%@*}
    inside=
    case $2 in *@*) inside="ip netns exec ${2#*@}" ;; esac
    # shellcheck disable=SC2086  # words, or nothing
    text=$($inside ethtool "$1" "${name%%/*}" 2>/dev/null |
        sed -n "s/^[[:space:]]*${name#*/}:[[:space:]]*\\([^[:space:]]*\\).*/\\1/p" | head -n 1)
}

read_chain() { # read_chain TOOL/NAME: sets $text to its number of rules
    text=
    case $1 in
        iptables-legacy/*) # to ask for a table loads its module
            grep -qs filter /proc/net/ip_tables_names || return 0
            ;;
    esac
    case $1 in
        ebtables/*) text=$(ebtables -L "${1#*/}" 2>/dev/null | grep -c ' -j \|^-j ') || [ "${text:-0}" -gt 0 ] ||
            ebtables -L "${1#*/}" >/dev/null 2>&1 || text= ;;
        *) ! rules=$("${1%%/*}" -S "${1#*/}" 2>/dev/null) || text=$(printf '%s\n' "$rules" | grep -c '^-A') ;;
    esac
}

read_pinning() { # read_pinning DOMAIN: sets $text by the CPUs that its threads may use
    text=none
    for process in /proc/[0-9]*; do
        tr '\0' ' ' 2>/dev/null <"$process/cmdline" | grep -q "guest=$1[, ]" || continue
        # Vhost workers may be threads of the kernel.
        workers=$(grep -slx "vhost-${process#/proc/}" /proc/[0-9]*/comm | sed 's/comm$/status/')
        # shellcheck disable=SC2086  # words, or nothing
        cpus=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' "$process"/task/*/status $workers)
        case $(printf '%s\n' "$cpus" | sort -u | tr '\n' ' ') in
            "0 ") text=together ;;
            "0 1 ") text=apart ;;
        esac
    done
}

read_record() { # read_record EVENT: sets $text to the offset of each field
    for folder in /sys/kernel/tracing /sys/kernel/debug/tracing; do
        [ -z "$text" ] || return 0
        text=$(sed -n 's/.*field:.*[^A-Za-z0-9_]\([A-Za-z0-9_][A-Za-z0-9_]*\)\(\[[A-Za-z0-9_]*\]\)\{0,1\};[[:space:]]*offset:\([0-9]*\);.*/\1:\3/p' \
            "$folder/events/$1/format" 2>/dev/null | tr '\n' ' ')
    done
    text=${text% }
}

read_vcpus() { # read_vcpus DOMAIN: sets $text to its process and the threads of its vCPUs
    for process in /proc/[0-9]*; do
        tr '\0' ' ' 2>/dev/null <"$process/cmdline" | grep -q "guest=$1[, ]" || continue
        text=${process#/proc/}
        for task in "$process"/task/*; do
            case $(cat "$task/comm" 2>/dev/null) in CPU*KVM*) text="$text ${task##*/}" ;; esac
        done
    done
}

echo '=== settings'
for path; do
    mark="==> $path <=="
    text=
    case $path in
        feature:*) read_ethtool -k "${path#feature:}" ;;
        coalesce:*) read_ethtool -c "${path#coalesce:}" ;;
        chain:*) read_chain "${path#chain:}" ;;
        pinning:*) read_pinning "${path#pinning:}" ;;
        capture:*)
            # See capture.sh.
            ! is_recorded "/run/kvmlab-capture.${path#capture:}" || text=present
            ;;
        meters:*)
            # See second_meters.sh.
            ! is_recorded /run/kvmlab-second-meters || text=present
            ;;
        record:*) read_record "${path#record:}" ;;
        vcpus:*) read_vcpus "${path#vcpus:}" ;;
        qdisc:*) text=$(tc qdisc show dev "${path#qdisc:}" root 2>/dev/null | { read -r _ kind _ && echo "$kind"; }) ;;
        xdp:*) ! ip link show dev "${path#xdp:}" 2>/dev/null | grep -q 'prog/xdp' || text=present ;;
        tc:*) ! tc qdisc show dev "${path#tc:}" 2>/dev/null | grep -q clsact || text=present ;;
        /*@*) ! text=$(ip netns exec "${path##*@}" cat "${path%@*}" 2>/dev/null) || [ -n "$text" ] || text=empty ;;
    esac
    case $path in
        feature:* | coalesce:* | chain:* | qdisc:* | capture:* | pinning:* | meters:* | record:* | vcpus:* | xdp:* | tc:* | /*@*)
            [ -z "$text" ] || printf '%s\n%s\n' "$mark" "$text"
            continue
            ;;
    esac
    if [ "${path#port:}" != "$path" ]; then
        port=${path#port:}
        if [ -e "/sys/bus/pci/devices/${port%@*}" ]; then
            read_port "$port"
            printf '%s\n%s\n' "$mark" "$text"
        fi
    elif [ "${path#state,}" != "$path" ]; then
        words=${path#state,}
        wanted=${words#*=}
        [ "$wanted" != "$words" ] || wanted=
        words=${words%%=*}
        rest=${words#*,}
        text=$(read_state "${words%%,*}" "${rest%%,*}" "${rest#*,}")
        if [ -z "$wanted" ]; then
            [ -z "$text" ] || printf '%s\n%s\n' "$mark" "$text"
        elif [ "$text" = "$wanted" ] || [ "$text" = "${wanted%%_*}" ]; then
            printf '%s\npresent\n' "$mark"
        fi
    elif [ -L "$path" ]; then
        target=$(readlink "$path")
        printf '%s\n%s\n' "$mark" "${target##*/}"
    elif [ -d "$path" ]; then
        printf '%s\npresent\n' "$mark"
    elif [ -e "$path" ]; then
        text=
        IFS= read -r text 2>/dev/null <"$path"
        case $path in
            /sys/class/net/*/flags)
                if [ $((text & 1)) -eq 1 ]; then text=up; else text=down; fi
                ;;
            /run/libvirt/network/*.xml) text=present ;;
        esac
        printf '%s\n%s\n' "$mark" "$text"
    fi
done
echo '=== end'
