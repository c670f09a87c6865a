# Events of a few echoes from the peer. Run as root: sh -s -- ACTION INSTANCE ...
#
#   start INSTANCE LEAST MOST VCPUS THREADS    events on; packets of LEAST to MOST bytes; VCPUS and THREADS
#                                              are thread ids of the VM, joined by commas
#   stop  INSTANCE                             the trace; everything removed
#
# Prints "=== missing EVENT" for each tracepoint that the kernel lacks.
. ./prelude.sh

T=/sys/kernel/tracing
[ -d $T/instances ] || T=/sys/kernel/debug/tracing
action=$1
I=$T/instances/$2
shift 2

remove() {
    echo 0 > "$I/events/enable"
    rmdir "$I"
} 2>/dev/null

trace_event() { # $1: event, $2: filter
    if [ ! -d "$I/events/$1" ]; then
        echo "=== missing $1"
        return
    fi
    [ -z "$2" ] || echo "$2" > "$I/events/$1/filter" || { echo "=== no filter $1"; exit 3; }
    echo 1 > "$I/events/$1/enable"
}

threads() { # $1: ids joined by commas; prints a filter
    set -f
    IFS=,
    filter=
    for id in $1; do
        filter="$filter${filter:+ || }common_pid == $id"
    done
    unset IFS
    echo "$filter"
}

case $action in
start)
    [ ! -d "$I" ] || remove
    mkdir "$I" || { echo "=== no tracefs"; exit 3; }
    echo 0 > "$I/tracing_on"
    echo mono > "$I/trace_clock"
    echo 4096 > "$I/buffer_size_kb"
    vcpus=$(threads "$3")
    calls="$(threads "$4") || COMM == \"ping\""
    for event in kvm/kvm_entry kvm/kvm_exit; do trace_event $event "$vcpus"; done
    for event in raw_syscalls/sys_enter raw_syscalls/sys_exit; do trace_event $event "$calls"; done
    for event in net/net_dev_start_xmit net/netif_receive_skb; do
        trace_event $event "len >= $1 && len <= $2"
    done
    for event in sched/sched_switch sched/sched_waking irq/softirq_entry irq/softirq_exit \
        irq/irq_handler_entry irq/irq_handler_exit; do
        trace_event $event
    done
    echo 1 > "$I/tracing_on"
    echo "=== end"
    ;;
stop)
    echo 0 > "$I/tracing_on"
    echo "=== trace"
    cat "$I/trace"
    remove
    [ ! -d "$I" ] || { echo "=== left behind $I"; exit 5; }
    echo "=== end"
    ;;
esac
