# keep_lock.sh FOLDER SECONDS NOTE: hold this host for one lab for as long as that lab is heard, and
# write its journal here. Started by `sh -c`, since its standard input is the conversation.
#
# Says "held", or "busy AGE NOTE" (seconds since the holder was last heard, and its note; code 6), or
# "failed …". Then it hears lines, and answers with "ok" or "failed …" where there is something to do:
#   beat                the lab lives
#   note NAME LENGTH    so many bytes follow; append them to the journal NAME, on disk
#   gone NAME           remove the journal NAME
# The lock goes when the lab's end of the connection closes, or when nothing was heard for SECONDS.
folder=$1 limit=$2 note=$3
umask 022
mkdir -p "$folder/journal" && exec 9>>"$folder/lock" || {
    echo "failed $folder cannot be written"
    exit 5
}
if ! command -v flock >/dev/null; then
    echo "failed flock (util-linux) is missing"
    exit 5
fi
if ! flock -n 9; then
    heard=$(stat -c %Y "$folder/beat" 2>/dev/null)
    age=$(($(date +%s) - ${heard:-0}))
    printf 'busy %s ' "$age"
    cat "$folder/holder" 2>/dev/null
    exit 6
fi
printf '%s\n' "$note" >"$folder/holder"
beat=0
echo "$beat" >"$folder/beat"
keeper=$$
(
    exec 9>&-
    seen=0
    while sleep "$limit"; do
        kill -0 "$keeper" 2>/dev/null || exit
        read -r now <"$folder/beat"
        [ "$now" != "$seen" ] || kill "$keeper"
        seen=$now
    done
) </dev/null >/dev/null 2>&1 &
watch=$!

echo held
while IFS= read -r line; do
    beat=$((beat + 1))
    echo "$beat" >"$folder/beat"
    # shellcheck disable=SC2086  # three words
    set -- $line
    case $2 in
        */* | .*) echo "failed $2 is no name" ;;
        *)
            file=$folder/journal/$2
            case $1 in
                note)
                    if head -c "$3" >>"$file" && { sync "$file" 2>/dev/null || sync; }; then
                        echo ok
                    else
                        echo "failed $file cannot be written"
                    fi
                    ;;
                gone) rm -f -- "$file" && echo ok || echo "failed $file cannot be removed" ;;
            esac
            ;;
    esac
done
: >"$folder/holder"
kill "$watch" 2>/dev/null
exit 0
