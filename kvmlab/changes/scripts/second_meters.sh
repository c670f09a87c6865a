# second_meters.sh start|stop RECORD [COUNT BYTES EVENT...]: have the eBPF programs of the lab's meters in the kernel
# once more, held by a second meters.pl that nobody asks; or end that. For start, standard input is the
# text of meters.pl and commands behind it; it answers COUNT times. RECORD is the file that knows the process;
# read_settings.sh reads it.
. ./prelude.sh

start() {
    file=$1 count=$2
    shift 2
    answers=$(mktemp) || return
    exec 3<&0 # what runs in the background would have no input
    exec_recorded "$file" setsid sh -c '{ cat; exec sleep infinity; } | perl - "$@"' second-meters "$@" \
        <&3 3<&- >"$answers" 2>&1 &
    tries=0
    until [ "$(grep -c '^=== end$' "$answers")" -ge "$count" ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 150 ] || break
        sleep 0.1
    done
    wrong=$(grep -v '^=== end$\|^=== fields' "$answers")
    rm -f "$answers"
    [ -n "$wrong" ] || [ "$tries" -ge 150 ] || return 0
    printf 'The second meters do not count: %s\n' "${wrong:-no answer}" >&2
    stop "$file"
    return 1
}

stop() { # the whole group: what holds the programs, and what keeps its input open
    tries=0
    while is_recorded "$1" && [ "$tries" -lt 100 ]; do
        [ "$tries" != 0 ] || signal_group TERM "$recorded" "$recorded_start"
        tries=$((tries + 1))
        sleep 0.05
    done
    rm -f "$1"
}

"$@"
