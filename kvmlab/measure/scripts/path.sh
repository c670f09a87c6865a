# The tracepoints that show one echo on its way. Run as root: sh -s -- ACTION INSTANCE ...
#
#   start INSTANCE LEAST MOST    events on, for packets of LEAST to MOST bytes
#   stop  INSTANCE               the trace and the devices; everything removed
#
# The bridge has no tracepoint for a packet that it forwards. A kprobe on the function every such
# packet goes through, with the packet's address, stands in; where kprobes are off the reader infers.

T=/sys/kernel/tracing
[ -d $T/instances ] || T=/sys/kernel/debug/tracing
action=$1
name=$2
I=$T/instances/$name
shift 2

remove() { # $1: directory
    echo 0 > "$1/events/enable"
    rmdir "$1"
} 2>/dev/null

remove_probe() {
    [ -d $T/events/kvmlab ] && echo '-:kvmlab/bridge_forward' >> $T/kprobe_events
} 2>/dev/null

case $action in
start)
    for stale in "$T"/instances/kvmlab-path*; do [ -d "$stale" ] && remove "$stale"; done
    remove_probe
    # shellcheck disable=SC2016  # the kernel expands it
    echo 'p:kvmlab/bridge_forward br_forward skbaddr=$arg2:x64' \
        >> $T/kprobe_events 2>/dev/null || echo "=== no kprobe"
    mkdir "$I" || { echo "=== no tracefs"; exit 3; }
    echo mono > "$I"/trace_clock
    # Plain addresses: the probe and the tracepoints have to name a packet alike.
    echo 0 > "$I"/options/hash-ptr
    for event in net/net_dev_start_xmit net/netif_receive_skb; do
        if ! echo "len >= $1 && len <= $2" > "$I/events/$event/filter" ||
            ! echo 1 > "$I/events/$event/enable"; then
            echo "=== no event $event"
            exit 3
        fi
    done
    [ -d "$I"/events/kvmlab ] && echo 1 > "$I"/events/kvmlab/enable
    echo "=== ready"
    ;;
stop)
    echo 0 > "$I"/tracing_on
    echo "=== trace"
    cat "$I"/trace
    # Linux 6.1 leaves out the devices' names where it prints plain addresses.
    if grep -q 'dev= ' "$I"/trace; then
        echo 1 > "$I"/options/hash-ptr
        echo "=== names"
        cat "$I"/trace
    fi
    echo "=== links"
    for device in /sys/class/net/*; do
        kind=other
        [ -d "$device"/bridge ] && kind=bridge
        [ -f "$device"/tun_flags ] && kind=tap
        [ -e "$device"/device ] && kind=port
        [ -d "$device"/macvtap ] && kind=macvtap
        master=-
        [ -e "$device"/master ] && master=$(readlink "$device"/master)
        echo "${device##*/} $kind ${master##*/}"
    done
    remove "$I"
    remove_probe
    [ ! -d "$I" ] || { echo "=== left behind $I"; exit 5; }
    echo "=== end"
    ;;
esac
