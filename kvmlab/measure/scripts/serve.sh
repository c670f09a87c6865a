# serve.sh PROTOCOL PLACE TOOL SERVER...
# The server of one trial on a peer that is a machine of its own. The server ends when standard input
# closes; the command itself has a `timeout` around it, for a connection that freezes.
#
# PROTOCOL is tcp or udp, PLACE the address and port to listen at as /proc/net has them, in hex. Prints
# "ready", "missing TOOL", "taken …", "died" or "late"; the server's output goes to standard error.
. ./prelude.sh
LISTEN_SEC=15
protocol=$1 place=$2 tool=$3
shift 3
port=${place##*:}
any4=00000000 any6=00000000000000000000000000000000

listening() { # $1...: the places that count
    for table in "/proc/net/$protocol" "/proc/net/${protocol}6"; do
        while read -r _ local _ state _; do
            case $protocol:$state in tcp:0A | udp:07) ;; *) continue ;; esac
            for wanted; do
                [ "$local" != "$wanted" ] || return 0
            done
        done <"$table"
    done
    return 1
} 2>/dev/null

command -v "$tool" >/dev/null || { echo "missing $tool"; exit 3; }
if listening "$place" "$any4:$port" "$any6:$port"; then
    echo "taken $(ss -Hlnp "--$protocol" "sport = :$((0x$port))" 2>/dev/null | tr -s ' \n' '  ')"
    exit 4
fi
# Nobody serves, also where root has logged in.
# shellcheck disable=SC2086  # words
[ "$(id -u)" != 0 ] || set -- $nobody "$@"
setsid "$@" </dev/null >&2 &
server=$!
read_start "$server"
began=$process_start
trap 'signal_group TERM "$server" "$began"; wait' EXIT
trap 'exit 5' TERM HUP INT
read -r now _ </proc/uptime
end=$((${now%.*} + LISTEN_SEC))
until listening "$place"; do
    is_process "$server" "$began" || { echo died; exit 6; }
    read -r now _ </proc/uptime
    [ "${now%.*}" -lt $end ] || { echo late; exit 7; }
    sleep 0.05
done
echo ready
cat >/dev/null
