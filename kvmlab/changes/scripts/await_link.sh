# await_link.sh PORT: wait until the port has its link, which it loses when its VFs come or go.
port=$1

seconds() {
    read -r up rest </proc/uptime
    echo "${up%.*}"
}

end=$(($(seconds) + 15))
until [ "$(cat "/sys/class/net/$port/carrier" 2>/dev/null)" = 1 ]; do
    if [ "$(seconds)" -ge "$end" ]; then
        echo "$port has no link after 15 s, and without one its driver takes no rate for a VF" >&2
        exit 4
    fi
    sleep 0.1
done
