# keep_lock.sh FOLDER SECONDS NOTE: hold this host for one lab for as long as that lab is heard, and
# write its journal here. Started by `sh -c`, since its standard input is the conversation.
#
# Says "held BOOT-ID", or "busy AGE NOTE" (seconds since the holder was last heard, and its note; code
# 6), or "failed …". Then it hears lines, and answers each with "ok" or "failed …":
#   beat                the lab lives
#   note NAME LENGTH    so many bytes follow; append them to the journal NAME, on disk
#   gone NAME           all of it is undone: remove the journal NAME, and list it among the undone
# The lock goes when the lab's end of the connection closes, or when nothing was heard for SECONDS.
folder=$1 limit=$2 note=$3
umask 022
undone=$folder/undone

seconds() { # since boot: nobody sets that clock
    read -r up rest </proc/uptime
    echo "${up%.*}"
}

mkdir -p "$folder/journal" && exec 9>>"$folder/lock" || {
    echo "failed $folder cannot be written"
    exit 5
}
if ! command -v flock >/dev/null; then
    echo "failed flock (util-linux) is missing"
    exit 5
fi
if ! flock -n 9; then
    read -r beat heard 2>/dev/null <"$folder/beat"
    printf 'busy %s ' "$(($(seconds) - ${heard:-0}))"
    cat "$folder/holder" 2>/dev/null
    exit 6
fi
printf '%s\n' "$note" >"$folder/holder"
beat=0
echo "$beat $(seconds)" >"$folder/beat"
# The list need not be longer than what machines may still have of journals that others undid.
if [ "$(wc -l <"$undone" 2>/dev/null || echo 0)" -gt 2000 ]; then
    tail -n 1000 "$undone" >"$undone.new" && mv "$undone.new" "$undone"
fi
keeper=$$
(
    exec 9>&-
    seen=0
    while sleep "$limit"; do
        kill -0 "$keeper" 2>/dev/null || exit
        read -r now heard <"$folder/beat"
        [ "$now" != "$seen" ] || kill "$keeper"
        seen=$now
    done
) </dev/null >/dev/null 2>&1 &
watch=$!

read -r boot </proc/sys/kernel/random/boot_id
echo "held $boot"
# Programs get no hold on the lock (9>&-): one that waits for the rest of a sentence would keep it.
while IFS= read -r line; do
    beat=$((beat + 1))
    echo "$beat $(seconds)" >"$folder/beat"
    # shellcheck disable=SC2086  # three words
    set -- $line
    case $2 in
        */* | .*) echo "failed $2 is no name" ;;
        *)
            file=$folder/journal/$2
            case $1 in
                beat) echo ok ;;
                note)
                    if { head -c "$3" >>"$file" && { sync "$file" 2>/dev/null || sync; }; } 9>&-; then
                        echo ok
                    else
                        echo "failed $file cannot be written"
                    fi
                    ;;
                gone)
                    # On a full disk the list has to wait; the journal goes all the same.
                    echo "$2" >>"$undone"
                    rm -f -- "$file" && echo ok || echo "failed $file cannot be removed"
                    ;;
            esac
            ;;
    esac
done
: >"$folder/holder"
kill "$watch" 2>/dev/null
exit 0
