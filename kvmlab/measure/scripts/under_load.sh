# Echoes while streams run. Run: sh -c TEXT NAME WARMUP SECONDS EVERY PEER STREAMS...
#
# STREAMS is a client that ends by itself. Once its packets are on their way, and WARMUP seconds
# more, an echo goes to PEER each EVERY seconds, for so many SECONDS. What ping printed comes first,
# then a line "=== streams", then what STREAMS printed.
warmup=$1
seconds=$2
every=$3
peer=$4
shift 4

segments() { # sets $seen: TCP segments that came and went so far
    while read -r name _ _ _ _ _ _ _ _ _ in out _; do
        case $name$in in Tcp:[0-9]*) seen=$((in + out)) ;; esac
    done < /proc/net/snmp
}

segments
first=$seen
(
    # The handshake and what the two ends agree on are a dozen segments. No stream, no echoes.
    tries=0
    while segments; [ $((seen - first)) -lt 40 ]; do
        tries=$((tries + 1))
        [ $tries -lt 500 ] || exit
        sleep 0.02
    done
    sleep "$warmup"
    ping -n -i "$every" "$peer" &
    echoes=$!
    sleep "$seconds"
    kill -INT $echoes
    wait $echoes
) &
said=$("$@")
code=$?
wait
echo "=== streams"
echo "$said"
exit $code
