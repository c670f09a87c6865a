# serve.sh start|stop NAMESPACE FOLDER MIB: a web server in the peer's namespace, for downloads.
mode=$1 netns=$2 folder=$3 mib=$4
pid=$(cat "$folder.pid" 2>/dev/null)
if [ "$mode" = stop ]; then
    [ -z "$pid" ] || kill "$pid" 2>/dev/null
    rm -rf "$folder" "$folder.pid"
    exit 0
fi
[ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && exit 0
mkdir -p "$folder" && dd if=/dev/zero of="$folder/file" bs=1M count="$mib" 2>/dev/null
ip netns exec "$netns" busybox httpd -f -p 8080 -h "$folder" >/dev/null 2>&1 </dev/null &
echo $! >"$folder.pid"
