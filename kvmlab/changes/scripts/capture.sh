# capture.sh start|stop DEVICE BYTES RECORD: watch a device with tcpdump, BYTES of each packet, written into
# nothing; or end that. RECORD.DEVICE is the file that knows the process; read_settings.sh reads it.
. ./prelude.sh
what=$1 device=$2 bytes=$3 file=$4.$2

listens() { # listens PID: tcpdump has a socket for packets once it listens
    for file in "/proc/$1/fd"/*; do
        case $(readlink "$file") in socket:*) return 0 ;; esac
    done
    return 1
}

start() {
    exec_recorded "$file" setsid tcpdump -i "$device" -n -s "$bytes" -w /dev/null </dev/null >/dev/null 2>&1 &
    tries=0
    until listens "$!"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 100 ] || [ ! -e "/proc/$!" ]; then
            echo "tcpdump does not listen at $device" >&2
            return 1
        fi
        sleep 0.1
    done
}

stop() {
    signal_recorded TERM "$file"
    rm -f "$file"
}

"$what"
