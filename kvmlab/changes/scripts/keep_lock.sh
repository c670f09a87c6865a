# keep_lock.sh FOLDER SECONDS CONFIRM WAY GUARD NOTE: lock this host for one lab as long as that lab sends messages,
# and write its journal here. Started by `sh -c`, since its standard input carries the messages.
#
# Prints "locked BOOT-ID MACHINE-ID" ("-": no machine id), or "busy AGE NOTE" (seconds since the holder's
# last message, and its note; code 6), or "failed …". Then it reads messages, and answers each with
# "ok" or "failed …":
#   beat                     the lab lives
#   note NAME LENGTH UNDO    so many bytes follow; append the first LENGTH to the journal NAME, and
#                            keep the UNDO after them as the script that undoes it; on disk
#   remove NAME              all of it is undone: remove the journal NAME, and list it as undone
# The lock is released when the lab's end of the connection closes, or after SECONDS of silence. Where
# CONFIRM is not 0, GUARD (the text of guard_change.sh) then waits CONFIRM seconds after the last
# message, and undoes what is left. WAY is "ssh" where the lab comes through an sshd of its own, which
# GUARD ends with the lock, and with it all programs of the lab; else "-".
. ./prelude.sh
folder=$1 limit=$2 confirm=$3 way=$4 guard=$5 note=$6
umask 077 # journals and the lock are root's; who has the lock is no secret
undone=$folder/undone

if ! mkdir -p "$folder/journal" || ! chmod 755 "$folder" "$folder/journal" ||
    ! exec 9>>"$folder/lock" || ! chmod 600 "$folder/lock"; then
    echo "failed $folder cannot be written"
    exit 5
fi
if ! command -v flock >/dev/null; then
    echo "failed flock (util-linux) is missing"
    exit 5
fi
if ! flock -n 9; then
    read -r _ heard _ 2>/dev/null <"$folder/beat"
    now
    printf 'busy %s ' "$((now / 100 - ${heard:-0}))"
    cat "$folder/holder" 2>/dev/null
    exit 6
fi

read_start $$
session="$$ $process_start"
count=0
heard() {
    count=$((count + 1))
    now
    echo "$count $((now / 100)) $session" >"$folder/beat"
}

printf '%s\n' "$note" >"$folder/holder"
heard
chmod 644 "$folder/holder" "$folder/beat"
for file in "$folder"/journal/*; do
    [ ! -f "$file" ] || chmod 600 "$file"
done
names=$folder/session.$$
: >"$names"
# Machines keep no journals that are older than the last thousand.
if [ -e "$undone" ] && [ "$(wc -l <"$undone")" -gt 2000 ]; then
    tail -n 1000 "$undone" >"$undone.new" && mv "$undone.new" "$undone"
fi
server=
if [ "$way" = ssh ]; then
    ancestor=$PPID
    while [ "$ancestor" -gt 1 ] && [ -z "$server" ]; do
        read_start "$ancestor"
        case $(cat "/proc/$ancestor/comm") in sshd*) server="$ancestor $process_start" ;; esac
        ancestor=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$ancestor/status")
    done
fi
# shellcheck disable=SC2086  # two words each
setsid sh -c "$guard" kvmlab-guard "$folder" "$limit" "$confirm" $session $server \
    </dev/null >/dev/null 2>&1 9>&- &

read -r boot </proc/sys/kernel/random/boot_id
machine=
[ ! -r /etc/machine-id ] || read -r machine </etc/machine-id
echo "locked $boot ${machine:--}"

to_disk() { sync "$@" 2>/dev/null || sync; }

# append FILE LENGTH, overwrite FILE LENGTH: so much of what follows the message, all of which is read
# also where the disk is full. Programs must not inherit the lock (9>&-): one that waits for the rest
# of a message would keep it; so would a subshell, hence the shell of its own.
# shellcheck disable=SC2016  # the shell of its own expands it
store='cat >>"$1" || { cat >/dev/null && false; }'
append() { head -c "$2" | sh -c "$store" kvmlab-store "$1"; }
overwrite() { rm -f "$1" && append "$1" "$2"; }

take() { # take FILE LENGTH UNDO
    {
        append "$1" "$2"
        taken=$?
        if [ "${3:-0}" != 0 ]; then
            overwrite "$1.new" "$3" && mv "$1.new" "$1.undo" && echo "${1##*/}" >>"$names" &&
                to_disk "$1.undo" || taken=1
        fi
        to_disk "$1" && return "$taken"
    } 9>&-
}

while IFS= read -r line; do
    heard
    # shellcheck disable=SC2086  # four words
    set -- $line
    case $2 in
        */* | .*) echo "failed $2 is no name" ;;
        *)
            file=$folder/journal/$2
            case $1 in
                beat) echo ok ;;
                note) take "$file" "$3" "$4" && echo ok || echo "failed $file cannot be written" ;;
                remove)
                    # On a full disk the list has to wait; the journal goes all the same.
                    echo "$2" >>"$undone"
                    rm -f -- "$file" "$file.undo" && echo ok || echo "failed $file cannot be removed"
                    ;;
            esac
            ;;
    esac
done
: >"$folder/holder"
exit 0
