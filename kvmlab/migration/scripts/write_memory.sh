# write_memory.sh prepare|run MIB_PER_SEC WORKING_SET_MIB SECONDS, inside the VM: write memory, as a program
# does that changes its data. "prepare" fills a working set in the VM's memory file system, and says on standard
# error where there is no room for it. "run" writes through it in a circle, MIB_PER_SEC at most, until SIGTERM or
# for SECONDS; then it removes it and prints the hundredths of a second that passed and the KiB that it wrote.
# What it could not write in time (a VM that stood still, a vCPU that is throttled) is not made up for.
action=$1 rate=$2 size=$3 seconds=$4
folder=/dev/shm
source=$folder/kvmlab-source-$rate-$size target=$folder/kvmlab-written-$rate-$size
block=64 source_blocks=64

hundredths() { # of a second since the boot, as a number without leading zeros
    read -r up _ </proc/uptime
    now=$((${up%.*} * 100 + 1${up#*.} - 100))
}

prepare() {
    available=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)
    room=$(df -Pk "$folder" | sed -n '2s/^[^ ]* *[^ ]* *[^ ]* *\([0-9]*\) .*/\1/p')
    [ "$room" -lt "$available" ] || room=$available
    # What the source takes, and 32 MiB for the VM itself.
    room=$((room / 1024 - 36))
    if [ "$size" -gt "$room" ]; then
        [ "$room" -gt 0 ] || room=0
        echo "the VM has room for $room MiB" >&2
        exit 4
    fi
    # Pages of zeros would cost a migration nothing.
    head -c $((block * source_blocks * 1024)) /dev/urandom >"$source" || exit 4
    left=$((size * 1024 / block))
    : >"$target"
    while [ "$left" -gt 0 ]; do
        count=$left
        [ "$count" -lt "$source_blocks" ] || count=$source_blocks
        dd if="$source" bs=${block}k count="$count" 2>/dev/null >>"$target" || exit 4
        left=$((left - count))
    done
}

run() {
    ended=
    trap 'ended=yes' TERM
    blocks=$((size * 1024 / block))
    hundredths
    begin=$now due_from=$now due=0 done=0 place=0 total=0
    while [ -z "$ended" ] && [ $((now - begin)) -lt $((seconds * 100)) ]; do
        due=$(((now - due_from) * rate * 1024 / block / 100))
        # More than a second's work behind: from now on only what comes.
        if [ $((due - done)) -gt $((rate * 1024 / block)) ]; then
            due_from=$now due=0 done=0
        fi
        while [ "$done" -lt "$due" ] && [ -z "$ended" ]; do
            count=$((due - done))
            [ "$count" -le $((blocks - place)) ] || count=$((blocks - place))
            [ "$count" -le "$source_blocks" ] || count=$source_blocks
            dd if="$source" of="$target" bs=${block}k count="$count" seek="$place" conv=notrunc 2>/dev/null
            done=$((done + count)) total=$((total + count)) place=$(((place + count) % blocks))
        done
        sleep 0.1
        hundredths
    done
    rm -f "$source" "$target"
    echo "$((now - begin)) $((total * block))"
}

"$action"
