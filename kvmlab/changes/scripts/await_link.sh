# await_link.sh PORT must|may: wait until the port has its link, which it loses when its VFs come or go.
# Without a link after 30 s "must" fails, and "may" leaves it at that.
. ./prelude.sh
port=$1 need=$2

linked() {
    carrier=0
    read -r carrier 2>/dev/null <"/sys/class/net/$port/carrier"
    [ "$carrier" = 1 ]
}

now
end=$((now + 3000))
until linked; do
    now
    if [ "$now" -ge "$end" ]; then
        [ "$need" = may ] && exit 0
        echo "$port has no link after 30 s" >&2
        exit 4
    fi
    sleep 0.05
done
