# pin_threads.sh pin|unpin DOMAIN HOW: give the threads of a VM and its vhost workers CPUs 0 and 1: HOW is
# "together" (all on CPU 0) or "apart" (vCPUs on CPU 0, all others on CPU 1); or all CPUs again.
what=$1 domain=$2 how=$3

place() { # place CPUS TASK...
    cpus=$1
    shift
    for task; do taskset -p -c "$cpus" "${task##*/}" >/dev/null || return; done
}

for path in /proc/[0-9]*; do
    tr '\0' ' ' <"$path/cmdline" 2>/dev/null | grep -q "guest=${domain}[, ]" || continue
    case $what in
        unpin) place "0-$(($(nproc --all) - 1))" "$path"/task/* ;;
        pin)
            others=0
            [ "$how" = together ] || others=1
            for task in "$path"/task/*; do
                read -r name <"$task/comm"
                case $name in
                    CPU*KVM*) place 0 "$task" ;;
                    *) place "$others" "$task" ;;
                esac
            done
            ;;
    esac
done
