# guard_change.sh FOLDER SECONDS CONFIRM PID START [SSHD SSHD-START]: watch the program that has this host's lock for a lab
# (keep_lock.sh, process PID, begun at START). After SECONDS without a message end it, which releases
# the lock, and the sshd of its connection, which ends all else that its lab runs here. CONFIRM seconds after the last message undo what its lab has left, unless CONFIRM is 0 or
# somebody else has undone it; the lock is taken for that, so a restore at work goes first.
# Runs in a session of its own: it outlives the connection.
. ./prelude.sh
folder=$1 limit=$2 confirm=$3 pid=$4 start=$5 server=$6 server_start=$7
umask 077
names=$folder/session.$pid
pause=$((limit / 10))
[ "$pause" -ge 1 ] || pause=1
now
last=$((now / 100))
heard_count=

left() { # the journals of that lab that are not undone, the newest first
    sort -ru "$names" 2>/dev/null | while read -r name; do
        [ ! -e "$folder/journal/$name.undo" ] || echo "$name"
    done
}

undo_all() {
    echo "this host itself, undoing what nobody confirmed for $confirm s" >"$folder/holder"
    now
    echo "0 $((now / 100)) $$ 0" >"$folder/beat"
    left | while read -r name; do
        at=$(date -u +%Y-%m-%dT%H:%M:%SZ)
        echo "$at undoing $name" >>"$folder/log"
        if sh "$folder/journal/$name.undo" "$folder/journal/$name" >>"$folder/log" 2>&1; then
            echo "$name by the host itself at $at, unheard for $confirm s" >>"$folder/undone"
            rm -f "$folder/journal/$name" "$folder/journal/$name.undo"
            now
            echo "undone $((now / 100 - last)) s after the last message" >>"$folder/log"
            logger -t kvmlab "undone: $name, of which nothing was heard for $confirm s" 2>/dev/null
        else
            # What is left is for restore: it says why.
            rm -f "$folder/journal/$name.undo"
            logger -t kvmlab "not all undone: $name; see $folder/log" 2>/dev/null
        fi
    done
    : >"$folder/holder"
}

while :; do
    sleep "$pause"
    read -r count at holder_pid holder_start 2>/dev/null <"$folder/beat"
    if [ "$holder_pid $holder_start" = "$pid $start" ] && [ "$count" != "$heard_count" ]; then
        heard_count=$count
        last=$at
    fi
    now
    silence=$((now / 100 - last))
    if is_process "$pid" "$start"; then
        [ "$silence" -ge "$limit" ] || continue
        signal_process TERM "$pid" "$start"
        # One that is stopped hears nothing else.
        signal_process KILL "$server" "$server_start"
    fi
    if [ "$confirm" = 0 ] || [ -z "$(left)" ]; then
        # One that is asked to end may be about to write.
        is_process "$pid" "$start" && continue
        [ "$confirm" != 0 ] && [ -n "$(left)" ] && continue
        break
    fi
    [ "$silence" -ge "$confirm" ] || continue
    # Released at the end of the subshell, whatever happens in it.
    (flock -n 8 && undo_all) 8>>"$folder/lock" || continue
    break
done
rm -f "$names"
