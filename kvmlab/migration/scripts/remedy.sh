# remedy.sh REMEDY BRIDGE PORT TAP MAC DOMAIN: keep one remedy in place, from "=== ready" until a line, or
# the end, comes in on standard input; then it is taken back. Two of them act at the moment at which QEMU
# says that the VF is out: it waits for that in the state "wait-unplug", and then begins to copy.
remedy=$1 bridge=$2 port=$3 tap=$4 mac=$5 domain=$6

once_unplugged() { # once_unplugged COMMAND...
    virsh -q qemu-monitor-event "$domain" --loop --event MIGRATION | while read -r line; do
        case $line in
        *wait-unplug*) waited=yes ;;
        *'"active"'*)
            [ -z "$waited" ] || "$@"
            waited=
            ;;
        esac
    done
}

announce() {
    virsh -q qemu-monitor-command "$domain" \
        '{"execute":"announce-self","arguments":{"initial":50,"max":550,"rounds":5,"step":100}}' >/dev/null
}

watcher=
case $remedy in
announce-self)
    once_unplugged announce &
    watcher=$!
    ;;
fdb-replace)
    once_unplugged bridge fdb replace "$mac" dev "$tap" master static &
    watcher=$!
    ;;
fdb-sticky) bridge fdb replace "$mac" dev "$tap" master static sticky || exit 4 ;;
no-learning)
    bridge link set dev "$port" learning off || exit 4
    bridge fdb del "$mac" dev "$port" master 2>/dev/null
    ;;
ageing) ip link set dev "$bridge" type bridge ageing_time 1000 || exit 4 ;;
esac
echo '=== ready'
read -r _
case $remedy in
no-learning) bridge link set dev "$port" learning on ;;
ageing) ip link set dev "$bridge" type bridge ageing_time 30000 ;;
esac
[ -z "$watcher" ] || pkill -P "$watcher"
[ -z "$watcher" ] || kill "$watcher" 2>/dev/null
echo '=== end'
