# read_journals.sh FOLDER: whether a lab holds this host, and the journals that are here. Prints
# "free", or "held AGE NOTE"; then for each journal "@ NAME LENGTH" and its text, a newline after it.
folder=$1
if [ -e "$folder/lock" ] && command -v flock >/dev/null && ! flock -n "$folder/lock" true; then
    heard=$(stat -c %Y "$folder/beat" 2>/dev/null)
    printf 'held %s ' "$(($(date +%s) - ${heard:-0}))"
    cat "$folder/holder"
else
    echo free
fi
for file in "$folder"/journal/*.jsonl; do
    [ -e "$file" ] || continue
    printf '@ %s\n' "${file##*/}"
    cat "$file"
    printf '\n'
done
exit 0
