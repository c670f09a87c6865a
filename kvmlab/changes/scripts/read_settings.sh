# read_settings.sh PATH...: print one line for each path, in order: "-" where it is missing, else
# "= " and its text. A link reads as the last part of its target, a directory and a libvirt network
# as "present", the flags of a network device as "up" or "down". port:PCI-ADDRESS[@NAMESPACE] reads
# as driver, "only" and its driver_override where one is written, name, "up" or "down", "mtu N", MAC
# and addresses of the port there.
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
    # shellcheck disable=SC2086  # words, or nothing
    name=$($inside ls "$device/net" 2>/dev/null)
    [ -n "$name" ] || return
    # shellcheck disable=SC2086
    shown=$($inside ip -o address show dev "$name" scope global | while read -r _ _ _ own _; do
        printf ' %s\n' "$own"
    done | sort | tr -d '\n')
    # shellcheck disable=SC2086
    set -- $($inside cat "/sys/class/net/$name/flags" "/sys/class/net/$name/mtu" \
        "/sys/class/net/$name/address")
    if [ $(($1 & 1)) -eq 1 ]; then switch=up; else switch=down; fi
    text="$text $name $switch mtu $2 $3$shown"
}

for path do
    if [ "${path#port:}" != "$path" ]; then
        port=${path#port:}
        if [ -e "/sys/bus/pci/devices/${port%@*}" ]; then
            read_port "$port"
            printf '= %s\n' "$text"
        else
            echo "-"
        fi
    elif [ -L "$path" ]; then
        target=$(readlink "$path")
        echo "= ${target##*/}"
    elif [ -d "$path" ]; then
        echo "= present"
    elif [ -e "$path" ]; then
        text=
        IFS= read -r text 2>/dev/null <"$path"
        case $path in
            /sys/class/net/*/flags)
                if [ $((text & 1)) -eq 1 ]; then text=up; else text=down; fi
                ;;
            /run/libvirt/network/*.xml) text=present ;;
        esac
        printf '= %s\n' "$text"
    else
        echo "-"
    fi
done
exit 0
