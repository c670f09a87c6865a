# serve.sh start|stop NAMESPACE FOLDER MIB: a web server in the peer's namespace, for downloads.
. ./prelude.sh
mode=$1 netns=$2 folder=$3 mib=$4
if [ "$mode" = stop ]; then
    signal_recorded TERM "$folder.pid"
    rm -rf "$folder" "$folder.pid"
    exit 0
fi
is_recorded "$folder.pid" && exit 0
mkdir -p "$folder" && dd if=/dev/zero of="$folder/file" bs=1M count="$mib" 2>/dev/null
exec_recorded "$folder.pid" ip netns exec "$netns" busybox httpd -f -p 8080 -h "$folder" >/dev/null 2>&1 </dev/null &
