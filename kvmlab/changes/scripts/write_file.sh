# write_file.sh PATH MODE: write standard input to PATH, which must not be there, all of it or nothing. What
# is unfinished is in PATH.kvmlab-part, which is removed unless this machine stops just then.
path=$1 mode=$2
part=$path.kvmlab-part
umask 077
trap 'rm -f -- "$part"' EXIT
trap 'exit 5' TERM HUP INT
(umask 022 && mkdir -p -- "${path%/*}") && cat >"$part" && chmod "$mode" "$part" && sync "$part" || exit 4
# A link is refused where something is there already; a rename would replace it.
ln -- "$part" "$path" && rm -f -- "$part" && sync "${path%/*}"
