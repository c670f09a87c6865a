# The meters of one trial on the host, and the server that the VM's client talks to.
# Arguments only, nothing is composed. Run as root: sh -s -- ACTION INSTANCE ...
#
#   prepare INSTANCE PID VCPUS FILTER SPLIT PROTOCOL PORT_HEX SERVER...   counters on unless they are,
#           server up and listening
#   read    INSTANCE PID VCPUS READER WORKERS DEVICE SPLIT LABEL       one snapshot
#   watch   INSTANCE PID VCPUS READER WORKERS DEVICE WAIT WARMUP SECONDS
#           FILTER SPLIT PROTOCOL PORT_HEX SERVER...
#           prepare; says "=== ready" when it stands by; waits for traffic, snapshot, waits, snapshot,
#           and says what it saw. Where no client needs the server any more it has ended, as after rest
#   rest    INSTANCE                                      server ended; the counters stay for the next
#   finish  INSTANCE                                      server ended, counters removed
#
# PID is QEMU; VCPUS names the eBPF maps that count what the VM's virtual CPUs do, the bytes that each
# has there and their threads in its order, "MAP,MAP:BYTES:1,2", and READER is the text of snapshots.pl,
# which reads them. Or VCPUS is "-": then FILTER picks these threads for histograms of tracefs, which count the
# same at five times the price. WORKERS are the ids of the VM's vhost workers, "1,2", or 0. DEVICE carries
# the traffic at the server's end; it is read through the server's own /proc/PID/net, which is the peer's
# namespace without a mount or a fork. WAIT, WARMUP and SECONDS are seconds.
# SPLIT says what is counted beside exits and threads, each at a price of its own: none, system calls
# (where what is timed is one packet's way); guest, the time inside the VM; calls, both; all, these,
# softirqs, the server and all CPUs: who ran each nanosecond. A map has the time inside the VM always.

T=/sys/kernel/tracing
[ -d $T/instances ] || T=/sys/kernel/debug/tracing
RUN=/run/kvmlab-meters
LISTEN_SEC=15
export LC_ALL=C
action=$1
name=$2
I=$T/instances/$name
# To sum moments makes every event of an instance dearer: what is only counted has one of its own.
P=$T/instances/$name.plain
SYSCALLS=$P/events/raw_syscalls/sys_enter
shift 2

cleanup_server() { # $1: file with its process id
    [ -f "$1" ] || return 0
    read -r server < "$1"
    # The group: the server runs under `timeout` in a session of its own.
    kill -TERM "-$server" 2>/dev/null
    rm -f "$1"
}

cleanup_watcher() { # $1: file with the process ids of it and of its readers
    [ -f "$1" ] || return 0
    read -r watcher < "$1"
    kill -TERM $watcher 2>/dev/null
    rm -f "$1"
}

remove_trigger() { # $1: its file
    while read -r line; do
        case $line in hist:*) echo "!$line" > "$1" 2>/dev/null ;; esac
    done 2>/dev/null < "$1"
}

remove_instance() { # $1: directory
    # A trigger that is still set would keep the directory busy.
    for event in kvm/kvm_entry kvm/kvm_exit kvm/kvm_userspace_exit kvm/kvm_inj_virq \
        irq/softirq_entry irq/softirq_exit raw_syscalls/sys_enter; do
        remove_trigger "$1/events/$event/trigger"
    done
    rmdir "$1" 2>/dev/null
}

count_by() { # $1: keys, and what else the histogram has; $2: an event of an instance; $3: filter
    # A kernel that has just removed such a trigger may refuse the next for a moment. The shell's
    # own message has no reason in it; tee's has.
    text="hist:keys=$1${3:+ if $3}"
    trigger=$2/trigger
    echo "$text" 2>/dev/null > "$trigger" && return
    sleep 0.2
    echo "$text" | tee "$trigger"
}

# The moments of a pair of events, summed: what ends less what begins is the time between them, with
# no variable and no second look-up. Clock mono: the default one takes a lock.
SUMMED=:vals=common_timestamp:clock=mono

set_softirqs() { # anew for each trial: programs come and go, and each takes a place
    for event in irq/softirq_entry irq/softirq_exit; do
        remove_trigger $I/events/$event/trigger
        [ "$split:$vcpus" != all:- ] || count_by common_pid$SUMMED $I/events/$event || return
    done
    return 0
}

# To set or remove a trigger costs an emulated host 60 ms of waiting, so only what differs is done.
set_split() { # what differs from trial to trial, unless it is as it was
    before= watched=
    [ ! -f $RUN/$name.split ] || read -r before watched < $RUN/$name.split
    set -- /proc/$pid/task/*
    [ "$before" = "$split:$vcpus" ] || set_exits || return
    # Threads come and go with the VM's cards.
    [ "$before $watched" = "$split:$vcpus $*" ] || set_syscalls "$@" || return
    echo "$split:$vcpus $*" > $RUN/$name.split
}

set_exits() { # by histograms, with their moments where somebody asks for them and the kernel can sum
    remove_trigger $I/events/kvm/kvm_entry/trigger
    remove_trigger $I/events/kvm/kvm_exit/trigger
    [ "$vcpus" = - ] || return 0
    exits=common_pid,isa,exit_reason
    if [ "$split" != none ]; then
        count_by common_pid$SUMMED $I/events/kvm/kvm_entry "$filter" &&
            count_by $exits$SUMMED:size=4096 $I/events/kvm/kvm_exit "$filter" && return
    fi > /dev/null 2>&1
    count_by $exits:size=4096 $I/events/kvm/kvm_exit "$filter"
}

# Every program of the host pays for them, with each of its system calls: a stream by 3 %.
counts_syscalls() {
    [ "$split" != guest ] && [ -e $SYSCALLS/trigger ]
}

set_syscalls() { # $@: all threads of QEMU, in /proc; a kernel may have been built without
    remove_trigger $SYSCALLS/trigger
    counts_syscalls || return 0
    threads=
    for thread; do
        threads="$threads${threads:+ || }common_pid == ${thread##*/}"
    done
    count_by id $SYSCALLS "$threads"
}

set_counters() {
    # What a killed run left: one lab at a time works on a host.
    for stale in $RUN/*.pid; do cleanup_server "$stale"; done
    for stale in $RUN/*.watcher; do cleanup_watcher "$stale"; done
    rm -f $RUN/*
    for stale in $T/instances/kvmlab-*; do [ -d "$stale" ] && remove_instance "$stale"; done
    mkdir $I $P || { echo "=== no tracefs"; exit 3; }
    # Nobody reads their ring buffers: hist triggers count without one.
    echo 1 > $I/buffer_size_kb
    echo 1 > $P/buffer_size_kb
    echo mono > $I/trace_clock
    echo "$counted" > $RUN/$name.counted
    [ "$vcpus" = - ] || return
    count_by reason,errno $P/events/kvm/kvm_userspace_exit "$filter" &&
        count_by vector $P/events/kvm/kvm_inj_virq "$filter" ||
        { echo "=== no triggers"; cat $P/error_log; exit 3; }
}

end_traffic() { # the server and what watched its traffic; the counters stay
    cleanup_watcher $RUN/$name.watcher
    cleanup_server $RUN/$name.pid
    echo "=== server"
    tail -n 40 $RUN/$name.log 2>/dev/null
    rm -f $RUN/$name.log $RUN/$name.seen $RUN/$name.begin* $RUN/$name.end*
}

listening() { # $1: tcp|udp, $2: port in hex; the server is the peer's only user of that port
    while read -r _ local remote state _; do
        case $1:$local:$state in
            tcp:*:$2:0A | udp:*:$2:07) return 0 ;;
        esac
    done < "/proc/$server/net/$1"
    return 1
} 2>/dev/null

packets() { # sets $rx and $tx from the counters of $device; false while the device is not there
    while read -r interface value rest; do
        if [ "$interface" = "$device:" ]; then
            set -- $rest
            rx=$1 tx=$9
            return 0
        fi
    done < "/proc/$server/net/dev"
    return 1
} 2>/dev/null

entered() { # waits until the server, started a moment ago, is in the peer's namespace
    deadline $LISTEN_SEC
    until packets || passed; do sleep 0.02; done
}

deadline() { # $1: whole seconds from now
    read -r now _ < /proc/uptime
    end=$((${now%.*} + $1 + 1))
}

passed() {
    read -r now _ < /proc/uptime
    [ ${now%.*} -ge $end ]
}

snapshot() { # $1: what to read first, if anything; standard input: the counters of the namespace.
    # Replaces this shell. Of a pair of events the one that ends first: see kvmlab/measure/split.py.
    set -- "$@" $I/per_cpu/cpu0/stats $I/events/kvm/kvm_exit/hist
    [ "$split" = none ] || set -- "$@" $I/events/kvm/kvm_entry/hist
    set -- "$@" $P/events/kvm/kvm_userspace_exit/hist $P/events/kvm/kvm_inj_virq/hist
    ! counts_syscalls || set -- "$@" $SYSCALLS/hist
    set -- "$@" /proc/$pid/task/*/schedstat /proc/$pid/task/*/stat
    IFS=,
    for worker in $workers; do
        # Since Linux 6.4 a vhost worker is a thread of QEMU and is among the others.
        [ -d /proc/$pid/task/$worker ] ||
            set -- "$@" /proc/$worker/task/*/schedstat /proc/$worker/task/*/stat
    done
    unset IFS
    if [ "$split" = all ]; then
        set -- "$@" /proc/schedstat $I/events/irq/softirq_exit/hist $I/events/irq/softirq_entry/hist
        children=
        read -r children < /proc/$server/task/$server/children
        for program in $server $children; do
            set -- "$@" /proc/$program/task/*/schedstat /proc/$program/task/*/stat
        done
    fi 2>/dev/null
    exec tail -v -n +1 "$@" - /proc/stat /proc/softirqs /proc/interrupts 2>/dev/null
}

snapshots() { # $@: how many; the same where eBPF programs count, by the program that reads their map
    set -- "$@" vcpus
    ! counts_syscalls || set -- "$@" $SYSCALLS/hist
    set -- "$@" /proc/$pid/task
    IFS=,
    for worker in $workers; do
        [ -d /proc/$pid/task/$worker ] || set -- "$@" /proc/$worker/task
    done
    unset IFS
    [ "$split" != all ] || set -- "$@" /proc/schedstat server
    exec perl -e "$reader" "$vcpus" "$split" $server "$@" - /proc/stat /proc/softirqs /proc/interrupts
}

# A snapshot on its way: all but the reading itself is done before the traffic comes, since on a host
# with one CPU each fork is time that the traffic has not. It opens the counters of the namespace
# while the server lives: reading them later tells those of that moment, also when the client was
# quicker than planned and the server has ended.
stand_by() { # $1: label; sets $reader
    mkfifo $RUN/$name.$1.go
    (
        if [ "$split" = all ]; then
            # The server's threads come with the traffic.
            read -r _ < $RUN/$name.$1.go
            snapshot
        fi
        # A program that waits at its first file is started already.
        snapshot $RUN/$name.$1.go
    ) < /proc/$server/net/dev > $RUN/$name.$1 &
    reader=$!
    # In one go: a snapshot that others interrupt is of several moments. Where that is refused it
    # is read as any program reads.
    chrt -f -p 1 $reader 2>/dev/null
}

came() { # $1: packets since $first one way, or since $sent the other: at our own end they leave
    packets && { [ $((rx - first)) -ge "$1" ] || [ $((tx - sent)) -ge "$1" ]; }
}

watch() { # the window inside the traffic
    deadline "$wait"
    # A handful of packets is ARP and the handshake, or a straggler of the trial before.
    until came 12; do
        if passed || [ ! -d /proc/$server ]; then
            kill $at_begin $at_end
            return
        fi
        sleep 0.02
    done
    [ "$warmup" = 0 ] || sleep "$warmup"
    echo > $RUN/$name.begin.go
    wait $at_begin
    sleep "$seconds"
    echo > $RUN/$name.end.go
    wait $at_end
    await_server
}

watch_by_map() {
    (snapshots window $device "$wait" "$warmup" "$seconds" $RUN/$name.seen) < /proc/$server/net/dev &
    reader=$!
    chrt -f -p 1 $reader 2>/dev/null # as in stand_by
    echo $$ $reader > $RUN/$name.watcher
    wait $reader || {
        echo "=== what takes the snapshots broke off"
        exit 6
    }
    [ ! -s $RUN/$name.seen ] || await_server
}

await_server() { # A stream's server ends with it. Until then nobody asks the VM's agent for the client's
    # end: each question while packets flow costs CPU time of the VM and of the host.
    case $split:$protocol in
        none:* | *:none) ;;
        *) wait $server ;;
    esac
}

tell() { # what was seen; where the server has ended, as in a stream, what it said
    if [ -s $RUN/$name.seen ]; then
        cat $RUN/$name.seen
    elif [ -s $RUN/$name.end ]; then
        for label in begin end; do
            echo "=== snapshot $label"
            cat $RUN/$name.$label
        done
    else
        echo "=== no traffic"
    fi
    # What only holds the namespace has no client that needs it.
    [ "$protocol" != none ] && [ -d /proc/$server ] || end_traffic
    echo "=== end"
}

case $action in
prepare | watch)
    pid=$1
    vcpus=$2
    shift 2
    if [ $action = watch ]; then
        reader=$1
        workers=$2
        device=$3
        wait=$4
        warmup=$5
        seconds=$6
        shift 6
    fi
    filter=$1
    split=$2
    protocol=$3
    port=$4
    shift 4
    mkdir -p -m 700 $RUN
    # The counters of the trial before go on, as long as they are of the same virtual CPUs.
    counted="$pid $filter"
    [ "$vcpus" != - ] || counted="$counted, by histograms"
    if [ -d $I ]; then
        read -r before < $RUN/$name.counted
        if [ "$before" != "$counted" ]; then
            remove_instance $I
            remove_instance $P
            rm -f $RUN/$name.split
        fi
    fi
    [ -d $I ] || set_counters
    set_softirqs && set_split || { echo "=== no triggers"; cat $I/error_log $P/error_log; exit 3; }
    setsid "$@" < /dev/null > $RUN/$name.log 2>&1 &
    server=$!
    echo $server > $RUN/$name.pid
    deadline $LISTEN_SEC
    while [ "$protocol" != none ] && ! listening "$protocol" "$port"; do
        if passed || [ ! -d /proc/$server ]; then
            echo "=== no server"
            cat $RUN/$name.log
            exit 4
        fi
        sleep 0.02
    done
    if [ $action = watch ]; then
        entered
        if [ "$vcpus" != - ]; then
            watch_by_map
        else
            first=$rx sent=$tx
            stand_by begin
            at_begin=$reader
            stand_by end
            at_end=$reader
            echo $$ $at_begin $at_end > $RUN/$name.watcher
            echo "=== ready"
            watch
        fi
        rm -f $RUN/$name.watcher
        tell
        exit 0
    fi
    echo "=== ready"
    ;;
read)
    pid=$1
    vcpus=$2
    reader=$3
    workers=$4
    device=$5
    split=$6
    label=$7
    read -r server < $RUN/$name.pid
    entered
    chrt -f -p 1 $$ 2>/dev/null # as in stand_by
    if [ "$vcpus" != - ]; then
        (snapshots now "$label") < /proc/$server/net/dev
    else
        echo "=== snapshot $label"
        (snapshot) < /proc/$server/net/dev
    fi
    echo "=== end"
    ;;
rest)
    end_traffic
    ;;
finish)
    end_traffic
    remove_instance $I
    remove_instance $P
    rm -f $RUN/$name.counted $RUN/$name.split
    for left in $I $P; do [ ! -d $left ] || { echo "=== left behind $left"; exit 5; }; done
    ;;
esac
