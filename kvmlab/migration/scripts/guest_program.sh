# guest_program.sh run|end FILE [COMMAND...], inside the VM: become COMMAND, known by FILE; or end the process
# that FILE names, which may have ended by itself.
. ./prelude.sh
action=$1 file=$2
shift 2
case $action in
run) exec_recorded "$file" "$@" ;;
end)
    signal_recorded TERM "$file"
    rm -f "$file"
    ;;
esac
