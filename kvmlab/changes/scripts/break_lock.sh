# break_lock.sh FOLDER NOTE: end the program that has this host's lock, and log who did so. Prints what became
# of it in the section "outcome": "free" (nobody had it), "broken", or "stuck" (it is still taken).
. ./prelude.sh
folder=$1 note=$2
umask 077

is_free() { flock -n "$folder/lock" true; }

outcome() {
    if [ ! -e "$folder/lock" ] || is_free; then
        echo free
        return
    fi
    holder=$(cat "$folder/holder")
    read -r _ _ pid start <"$folder/beat"
    signal_process TERM "$pid" "$start"
    now
    end=$((now + 500))
    until is_free; do
        now
        if [ "$now" -ge "$end" ]; then
            echo stuck
            return
        fi
        sleep 0.1
    done
    : >"$folder/holder"
    printf '%s lock of "%s" broken by "%s"\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$holder" "$note" \
        >>"$folder/log"
    echo broken
}

echo '=== outcome'
outcome
echo '=== end'
