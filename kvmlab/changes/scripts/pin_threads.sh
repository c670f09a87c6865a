# pin_threads.sh pin|unpin DOMAIN HOW: give the threads of a VM and its vhost workers CPUs 0 and 1: HOW is
# "together" (all on CPU 0) or "apart" (vCPUs on CPU 0, all others on CPU 1); or all CPUs again.
what=$1 domain=$2 how=$3

place() { # place CPUS TASK...
    cpus=$1
    shift
    for task; do taskset -p -c "$cpus" "${task##*/}" >/dev/null || return; done
}

workers() { # workers PID: the vhost workers of a process that are kernel threads
    for task in /proc/[0-9]*; do
        read -r name 2>/dev/null <"$task/comm" && [ "$name" = "vhost-$1" ] && echo "$task"
    done
}

for path in /proc/[0-9]*; do
    tr '\0' ' ' <"$path/cmdline" 2>/dev/null | grep -q "guest=${domain}[, ]" || continue
    # shellcheck disable=SC2046  # words
    set -- "$path"/task/* $(workers "${path#/proc/}")
    case $what in
        unpin) place "0-$(($(nproc --all) - 1))" "$@" ;;
        pin)
            others=0
            [ "$how" = together ] || others=1
            for task; do
                read -r name <"$task/comm"
                case $name in
                    CPU*KVM*) place 0 "$task" ;;
                    *) place "$others" "$task" ;;
                esac
            done
            ;;
    esac
done
