# serve_guest.sh start|stop FOLDER MIB: a web server inside the VM, for its clients.
mode=$1 folder=$2 mib=$3
pid=$(cat "$folder.pid" 2>/dev/null)
if [ "$mode" = stop ]; then
    [ -z "$pid" ] || kill "$pid" 2>/dev/null
    rm -rf "$folder" "$folder.pid"
    exit 0
fi
[ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && exit 0
mkdir -p "$folder" && dd if=/dev/zero of="$folder/file" bs=1M count="$mib" 2>/dev/null
httpd -f -p 8080 -h "$folder" >/dev/null 2>&1 </dev/null &
echo $! >"$folder.pid"
exit 0
