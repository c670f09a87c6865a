# probe_peer.sh NAMESPACE VM SECONDS: fetch the VM's file from the peer, three times; prints "upload NANOSECONDS"
# of all three, 0 where one does not end.
netns=$1 vm=$2 limit=$3
fetched=0
before=$(date +%s%N)
while [ $fetched -lt 3 ] &&
    timeout "$limit" ip netns exec "$netns" busybox wget -q -T 2 -O /dev/null "http://$vm:8080/file" 2>/dev/null; do
    fetched=$((fetched + 1))
done
after=$(date +%s%N)
[ $fetched = 3 ] || after=$before
echo "upload $((after - before))"
