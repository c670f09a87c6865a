# ensure_address.sh MAC ADDRESS: give the VM's interface its address where it has none, as DHCP would.
# An interface that was plugged a moment ago gets the time to appear.
tries=0
while ! grep -qs "$1" /sys/class/net/*/address && [ $tries -lt 25 ]; do
    tries=$((tries + 1))
    sleep 0.2
done
for path in /sys/class/net/*; do
    [ "$(cat "$path/address")" = "$1" ] || continue
    name=${path##*/}
    ip -o -4 address show dev "$name" 2>/dev/null | grep -q inet && exit 0
    ip link set "$name" up
    ip address add "$2" dev "$name"
done
exit 0
