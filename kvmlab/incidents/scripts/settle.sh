# settle.sh PORT NAMESPACE PEER-PORT: wait until a port that is up has its link, at both ends.
# Ports lose it for a while when they are switched on, or get another MTU.
port=$1 netns=$2 peer_port=$3
tries=0
while [ $tries -lt 40 ]; do
    [ "$(($(cat "/sys/class/net/$port/flags" 2>/dev/null || echo 0) & 1))" = 1 ] || exit 0
    [ "$(cat "/sys/class/net/$port/carrier" 2>/dev/null)" = 1 ] &&
        [ "$(ip netns exec "$netns" cat "/sys/class/net/$peer_port/carrier" 2>/dev/null)" = 1 ] && exit 0
    tries=$((tries + 1))
    sleep 0.2
done
exit 0
