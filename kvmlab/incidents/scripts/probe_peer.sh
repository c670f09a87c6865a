# probe_peer.sh NAMESPACE VM SECONDS: fetch the VM's file from the peer; prints "upload NANOSECONDS", 0 for a
# transfer that does not end.
netns=$1 vm=$2 limit=$3
before=$(date +%s%N)
if timeout "$limit" ip netns exec "$netns" busybox wget -q -T 2 -O /dev/null "http://$vm:8080/file" 2>/dev/null; then
    after=$(date +%s%N)
    echo "upload $((after - before))"
else
    echo "upload 0"
fi
