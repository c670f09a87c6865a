# read_journals.sh FOLDER: whether a lab holds this host, and the journals that are here. Prints
# "free BOOT-ID", or "held BOOT-ID AGE NOTE"; a line "undone NAME" for each of the last journals that
# were put back and are gone; for each journal "@ NAME" and its text, a newline after it.
folder=$1
read -r boot </proc/sys/kernel/random/boot_id
if [ -e "$folder/lock" ] && command -v flock >/dev/null && ! flock -n "$folder/lock" true; then
    read -r beat heard 2>/dev/null <"$folder/beat"
    read -r up rest </proc/uptime
    printf 'held %s %s ' "$boot" "$((${up%.*} - ${heard:-0}))"
    cat "$folder/holder"
else
    echo "free $boot"
fi
[ ! -e "$folder/undone" ] || tail -n 1000 "$folder/undone" | awk '{ print "undone " $0 }'
for file in "$folder"/journal/*.jsonl; do
    [ -e "$file" ] || continue
    printf '@ %s\n' "${file##*/}"
    cat "$file"
    printf '\n'
done
exit 0
