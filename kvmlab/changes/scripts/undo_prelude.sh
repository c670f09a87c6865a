# Undo the steps of one change on this host, as its controller would: each only if its setting reads
# what the step made of it. $1 is the journal in which it is noted. Exits with 1 if something is left.
# shellcheck disable=SC2034  # the steps follow, and use what is set here
. ./prelude.sh
journal=$1
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin
export PATH
failed=0 released=1

value() { # value PATH: "= TEXT", or nothing where it is missing
    read_settings "$1" | sed -n '3{s/^/= /;p;}'
}

note() { # note LINE: the record of an undone step
    printf '%s\n' "$1" >>"$journal"
}

detach() { # detach URI DOMAIN ALIAS LINE: unplug a device, and wait until the guest has released it
    now
    end=$((now + 6000))
    # Its answer comes after a hot-plug that is under way; the first one may be lost in the guest.
    timeout -k 2 30 virsh -c "$1" detach-device-alias "$2" "$3" --live
    while devices=$(timeout -k 2 30 virsh -c "$1" dumpxml "$2"); do
        case $devices in
            *"alias name='$3'"*) ;;
            *) break ;;
        esac
        now
        if [ "$now" -ge "$end" ]; then
            echo "$2 does not release $3"
            failed=1 released=0
            return
        fi
        sleep 1
        timeout -k 2 30 virsh -c "$1" detach-device-alias "$2" "$3" --live
    done
    # A domain that is not there has no device; a libvirt that does not answer may have one.
    if [ -z "$devices" ] && ! timeout -k 2 30 virsh -c "$1" list >/dev/null; then
        echo "libvirt does not answer"
        failed=1 released=0
        return
    fi
    note "$4"
}

undo() { # undo NUMBER SETTLES BELOW PATH BEFORE AFTER LINE
    if [ "$3" = 1 ] && [ "$released" = 0 ]; then
        failed=1
        return
    fi
    reads=$(value "$4")
    if [ "$reads" != "$5" ]; then
        if [ "$2" = 0 ] && [ "$reads" != "$6" ]; then
            echo "$4 reads ${reads:-nothing}: neither its value before the change nor after it"
            failed=1
            return
        fi
        "step_$1"
        if [ "$(value "$4")" != "$5" ]; then
            echo "$4 does not read ${5:-nothing} after its undo"
            failed=1
            return
        fi
    fi
    note "$7"
}

