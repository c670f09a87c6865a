# One run of a client on the host itself, against a server at the peer; no VM takes part.
#
#   sh -s -- DEVICE PROTOCOL PORT_HEX NCLIENT CLIENT... SERVER...
#
# DEVICE carries the traffic at the server's end, PROTOCOL is what the server has to be seen doing
# before the client starts: tcp, udp or none.
LISTEN_SEC=15
device=$1
protocol=$2
port=$3
count=$4
shift 4
log=/run/kvmlab-baseline.log

(
    shift "$count"
    exec setsid "$@"
) </dev/null >$log 2>&1 &
server=$!
trap 'kill -TERM "-$server" 2>/dev/null; rm -f $log' EXIT

listening() {
    while read -r _ local _ state _; do
        case $1:$local:$state in
        tcp:*:$2:0A | udp:*:$2:07) return 0 ;;
        esac
    done <"/proc/$server/net/$1"
    return 1
} 2>/dev/null

# The server has to be in its namespace, where DEVICE is, and to listen if it ever will.
ready() {
    grep -q "^ *$device:" "/proc/$server/net/dev" || return 1
    [ "$protocol" = none ] || listening "$protocol" "$port"
} 2>/dev/null

counters() {
    echo "=== $1"
    grep "^ *$device:" "/proc/$server/net/dev"
}

read -r now _ </proc/uptime
end=$((${now%.*} + LISTEN_SEC))
until ready; do
    read -r now _ </proc/uptime
    if [ "${now%.*}" -ge $end ] || [ ! -d "/proc/$server" ]; then
        echo "=== no server"
        cat $log
        exit 4
    fi
    sleep 0.05
done
# The server may end with its client; what is open stays readable.
exec 4<"/proc/$server/net/dev"
echo "=== ready"
counters before
echo "=== client"
(
    number=0
    total=$#
    while [ $number -lt "$count" ]; do
        set -- "$@" "$1"
        shift
        number=$((number + 1))
    done
    shift $((total - count))
    exec "$@"
) </dev/null
code=$?
echo
echo "=== after"
grep "^ *$device:" <&4
echo "=== code $code"
