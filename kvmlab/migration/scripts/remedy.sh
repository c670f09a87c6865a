# remedy.sh REMEDY BRIDGE PORT TAP MAC DOMAIN: keep one remedy in place, from "=== ready" until a line, or
# the end, comes in on standard input; then it is taken back. Two of them act at the moment at which QEMU
# says that the VF is out: it waits for that in the state "wait-unplug", and then begins to copy.
. ./prelude.sh
remedy=$1 bridge=$2 port=$3 tap=$4 mac=$5 domain=$6

folder=$(mktemp -d)
watcher=
trap 'signal_process TERM "$watcher" "$began"; rm -rf "$folder"' EXIT

once_unplugged() { # once_unplugged COMMAND...: in the background, as long as the watcher runs
    mkfifo "$folder/events" || exit 4
    virsh -q qemu-monitor-event "$domain" --loop --event MIGRATION >"$folder/events" &
    watcher=$!
    read_start "$watcher"
    began=$process_start
    while read -r line; do
        case $line in
        *wait-unplug*) waited=yes ;;
        *'"active"'*)
            [ -z "$waited" ] || "$@"
            waited=
            ;;
        esac
    done <"$folder/events" &
}

announce() {
    virsh -q qemu-monitor-command "$domain" \
        '{"execute":"announce-self","arguments":{"initial":50,"max":550,"rounds":5,"step":100}}' >/dev/null
}

case $remedy in
announce-self) once_unplugged announce ;;
fdb-replace) once_unplugged bridge fdb replace "$mac" dev "$tap" master static ;;
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
# Where the VM has moved, its tap went with it.
fdb-*) bridge fdb del "$mac" dev "$tap" master 2>/dev/null ;;
esac
echo '=== end'
