# serve_guest.sh start|stop FOLDER MIB: a web server inside the VM, for its clients.
. ./prelude.sh
mode=$1 folder=$2 mib=$3
if [ "$mode" = stop ]; then
    signal_recorded TERM "$folder.pid"
    rm -rf "$folder" "$folder.pid"
    exit 0
fi
is_recorded "$folder.pid" && exit 0
mkdir -p "$folder" && dd if=/dev/zero of="$folder/file" bs=1M count="$mib" 2>/dev/null
exec_recorded "$folder.pid" httpd -f -p 8080 -h "$folder" >/dev/null 2>&1 </dev/null &
exit 0
