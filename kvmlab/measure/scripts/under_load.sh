# Echoes while streams run. Run: sh -c TEXT NAME WARMUP SECONDS EVERY PEER STREAMS...
#
# STREAMS is a client that ends by itself. WARMUP seconds after its first packets, an echo goes to PEER
# each EVERY seconds, for SECONDS. Prints the output of ping, a line "=== streams", the output of STREAMS.
. ./prelude.sh
warmup=$1
seconds=$2
every=$3
peer=$4
shift 4

segments() { # sets $total: TCP segments received and sent so far
    while read -r name _ _ _ _ _ _ _ _ _ in out _; do
        case $name$in in Tcp:[0-9]*) total=$((in + out)) ;; esac
    done < /proc/net/snmp
}

segments
first=$total
(
    # The handshake and iperf3's own exchange are a dozen segments. No stream, no echoes.
    tries=0
    while segments; [ $((total - first)) -lt 40 ]; do
        tries=$((tries + 1))
        [ $tries -lt 500 ] || exit
        sleep 0.02
    done
    sleep "$warmup"
    ping -n -i "$every" "$peer" &
    echoes=$!
    read_start "$echoes"
    began=$process_start
    sleep "$seconds"
    signal_process INT "$echoes" "$began"
    wait "$echoes"
) &
report=$("$@")
code=$?
wait
echo "=== streams"
echo "$report"
exit $code
