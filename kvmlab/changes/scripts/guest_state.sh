# guest_state.sh read|write KIND MAC NAME [VALUE]: a state inside the VM; see guest_state.py.
# Words in a value are separated by commas. An interface that is gone has no state.
mode=$1 kind=$2 mac=$3 name=$4 value=$5
words=$(echo "$value" | tr , ' ')
interface=
for path in /sys/class/net/*; do
    [ "$(cat "$path/device/../net/${path##*/}/address" 2>/dev/null || cat "$path/address")" = "$mac" ] &&
        interface=${path##*/}
done
if [ "$mac" != - ] && [ -z "$interface" ]; then
    exit 0
fi
case $mode/$kind in
    read/sysctl) tr '\t' , <"/proc/sys/$name" ;;
    write/sysctl) echo "$words" >"/proc/sys/$name" ;;
    read/mtu) cat "/sys/class/net/$interface/mtu" ;;
    write/mtu) ip link set "$interface" mtu "$value" ;;
    read/feature) ethtool -k "$interface" | sed -n "s/^[[:space:]]*$name: \(on\|off\).*/\1/p" ;;
    write/feature) ethtool -K "$interface" "$name" "$value" >/dev/null ;;
    read/neighbour) arp -n | grep "($name)" | grep -q PERM && echo on || echo off ;;
    write/neighbour)
        arp -d "$name" 2>/dev/null
        [ "$value" = off ] || arp -s "$name" 02:00:00:00:00:01
        ;;
    read/route) ip route list "$name/32" | grep -q blackhole && echo on || echo off ;;
    write/route)
        ip route del blackhole "$name/32" 2>/dev/null
        [ "$value" = off ] || ip route add blackhole "$name/32"
        ;;
    read/prefix) ip -o address show dev "$interface" | sed -n "s,.* $name/\([0-9]*\) .*,\1,p" ;;
    write/prefix)
        now=$(ip -o address show dev "$interface" | sed -n "s,.* $name/\([0-9]*\) .*,\1,p")
        [ -z "$now" ] || ip address del "$name/$now" dev "$interface"
        ip address add "$name/$value" dev "$interface"
        ;;
    read/qdisc) tc qdisc show dev "$interface" | grep -q 'qdisc pfifo ' && echo pfifo || echo none ;;
    write/qdisc)
        tc qdisc del dev "$interface" root 2>/dev/null
        [ "$value" = none ] || tc qdisc add dev "$interface" root pfifo limit 1
        ;;
    read/arp) [ $((0x$(cut -c3- "/sys/class/net/$interface/flags") & 0x80)) -ne 0 ] && echo off || echo on ;;
    write/arp)
        ip link set "$interface" arp "$value"
        ip neigh flush dev "$interface"
        ;;
    read/ring)
        ethtool -g "$interface" | sed '1,/Current/d' | tr '[:upper:]' '[:lower:]' |
            sed -n "s/^$name:[[:space:]]*//p"
        ;;
    write/ring) ethtool -G "$interface" "$name" "$value" ;;
    read/coalesce) ethtool -c "$interface" | sed -n "s/^$name:[[:space:]]*//p" ;;
    write/coalesce) ethtool -C "$interface" "$name" "$value" ;;
    *) exit 2 ;;
esac
exit 0
