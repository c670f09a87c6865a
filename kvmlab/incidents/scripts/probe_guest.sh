# probe_guest.sh PEER SECONDS PART…: measure from inside the VM; parts are ping, large and download.
# Prints lines of a name and numbers; downloads that do not end read as 0 seconds.
# A link that has just come back gets a moment to do so.
peer=$1 limit=$2
shift 2
tries=0
while grep -qs 0 /sys/class/net/eth*/carrier && [ $tries -lt 30 ]; do
    tries=$((tries + 1))
    sleep 0.2
done
# The first packets after a link is back can be lost, and with them the question for the peer's MAC
# address, which is asked once a second: that is not what is measured.
tries=0
while [ $tries -lt 4 ] && ! ping -n -q -c 1 -W 1 "$peer" >/dev/null 2>&1; do
    tries=$((tries + 1))
done
for part; do
    case $part in
        ping) ping -n -q -c 20 -i 0.01 -W 1 "$peer" 2>/dev/null | sed 's/^/ping /' ;;
        large) ping -n -q -c 4 -i 0.01 -W 1 -s 1400 "$peer" 2>/dev/null | sed 's/^/large /' ;;
        download)
            # The clock counts hundredths of a second, a tenth of one transfer: three are timed.
            fetched=0
            read -r before _ </proc/uptime
            while [ $fetched -lt 3 ] &&
                timeout "$limit" wget -q -T 2 -O /dev/null "http://$peer:8080/file" 2>/dev/null; do
                fetched=$((fetched + 1))
            done
            read -r after _ </proc/uptime
            [ $fetched = 3 ] || after=$before
            echo "download $before $after"
            ;;
    esac
done
exit 0
