# serve_guest.sh start|stop ADDRESS FOLDER MIB: a web server inside the VM, for its clients, at its ADDRESS only.
. ./prelude.sh
mode=$1 address=$2 folder=$3 mib=$4
umask 022 # nobody reads the file
if [ "$mode" = stop ]; then
    signal_recorded TERM "$folder.pid"
    rm -rf "$folder" "$folder.pid"
    exit 0
fi
is_recorded "$folder.pid" && exit 0
mkdir -p "$folder" && dd if=/dev/zero of="$folder/file" bs=1M count="$mib" 2>/dev/null
exec_recorded "$folder.pid" httpd -f -p "$address:8080" -u 65534:65534 -h "$folder" >/dev/null 2>&1 </dev/null &
exit 0
