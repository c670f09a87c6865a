# serve.sh start|stop NAMESPACE ADDRESS FOLDER MIB: a web server in the peer's namespace, for downloads, at its
# ADDRESS only.
. ./prelude.sh
mode=$1 netns=$2 address=$3 folder=$4 mib=$5
umask 022 # nobody reads the file
if [ "$mode" = stop ]; then
    signal_recorded TERM "$folder.pid"
    rm -rf "$folder" "$folder.pid"
    exit 0
fi
is_recorded "$folder.pid" && exit 0
mkdir -p "$folder" && dd if=/dev/zero of="$folder/file" bs=1M count="$mib" 2>/dev/null
# shellcheck disable=SC2086  # words
exec_recorded "$folder.pid" ip netns exec "$netns" $nobody \
    busybox httpd -f -p "$address:8080" -h "$folder" >/dev/null 2>&1 </dev/null &
