# read_journals.sh FOLDER: print whether a lab has this host's lock, and the journals that are here, in the
# sections "boot" (its id), "machine" (its id, empty where it has none), "holder" (AGE and NOTE;
# empty where it is free), "undone" (names of the last journals that were undone and removed, each
# with a note), "journal NAME" for each journal, and "unreadable" (those that only root may read).
. ./prelude.sh
folder=$1
echo '=== boot'
cat /proc/sys/kernel/random/boot_id
echo '=== machine'
cat /etc/machine-id 2>/dev/null
read -r _ heard _ 2>/dev/null <"$folder/beat"
now
age=$((now / 100 - ${heard:-0}))

locked() {
    [ -e "$folder/lock" ] || return 1
    if [ -r "$folder/lock" ]; then
        command -v flock >/dev/null && ! flock -n "$folder/lock" true
    else # only root may try it: its note is there as long as it is taken
        [ -s "$folder/holder" ] && [ "$age" -ge 0 ] && [ "$age" -lt 300 ]
    fi
}

echo '=== holder'
if locked; then
    printf '%s %s\n' "$age" "$(cat "$folder/holder")"
fi
echo '=== undone'
[ ! -e "$folder/undone" ] || tail -n 1000 "$folder/undone"
unreadable=
for file in "$folder"/journal/*.jsonl; do
    [ -e "$file" ] || continue
    if [ ! -r "$file" ]; then
        unreadable="$unreadable ${file##*/}"
        continue
    fi
    printf '=== journal %s\n' "${file##*/}"
    cat "$file"
    printf '\n'
done
echo '=== unreadable'
echo "$unreadable"
echo '=== end'
