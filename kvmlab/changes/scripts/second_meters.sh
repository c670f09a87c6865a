# second_meters.sh start|stop [COUNT BYTES EVENT...]: have the eBPF programs of the lab's meters in the kernel
# once more, held by a second meters.pl that nobody asks; or end that. For start, standard input is the
# text of meters.pl and commands behind it; it answers COUNT times.

start() {
    count=$1
    shift
    answers=$(mktemp) || return
    exec 3<&0 # what runs in the background would have no input
    setsid sh -c '{ cat; exec sleep infinity; } | perl - "$@"' second-meters "$@" <&3 3<&- >"$answers" 2>&1 &
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
    stop
    return 1
}

stop() { # the whole group: what holds the programs, and what keeps its input open
    for path in /proc/[0-9]*; do
        case $(tr '\0' ' ' 2>/dev/null <"$path/cmdline") in
            'sh -c { cat; exec sleep infinity; } | perl '*) kill -- "-${path#/proc/}" ;;
            *) continue ;;
        esac
        tries=0
        while [ -e "$path" ] && [ "$tries" -lt 100 ]; do
            tries=$((tries + 1))
            sleep 0.05
        done
    done
    return 0
}

"$@"
