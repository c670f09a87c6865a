# migration_probe.sh TRAFFIC NETNS PEER_PORT PORT_A PORT_B NETNS_B SOCKET_B MAC PEER VM SECONDS PROGRAM
# CPU RATE: what the peer and both hosts see of a migration, from "=== ready" until a line, or the end,
# comes in on standard input; then it is printed in sections. Started by `sh -c`, since its standard input
# is that signal. TRAFFIC is "answers" (the peer sends an echo each SECONDS, and the VM answers), "sends"
# (the VM sends them), "receives" (the peer sends it numbered datagrams by iperf3, and it is silent) or
# "tcp" (the VM sends a stream); PROGRAM is the text of traffic.pl, CPU of cpu_times.pl; RATE is that of
# the datagrams in bit/s. PORT_A and PORT_B are the ports of both bridges: frames of MAC that leave by
# them have come from the VM's virtio card there. Everything is kept in files until the end: a pipe that
# nobody reads would stop its writer.
. ./prelude.sh
traffic=$1 netns=$2 peer_port=$3 port_a=$4 port_b=$5 netns_b=$6 socket_b=$7 mac=$8 peer=$9
shift 9
vm=$1 seconds=$2 traffic_program=$3 cpu_program=$4 rate=$5
folder=$(mktemp -d)
running=
trap 'end_all; rm -rf "$folder"' EXIT

in_background() { # in_background FILE COMMAND...
    file=$folder/$1
    shift
    "$@" >"$file" 2>"$file.err" </dev/null &
    read_start $!
    running="$!:$process_start $running"
}

end_all() {
    for process in $running; do
        signal_process TERM "${process%:*}" "${process#*:}"
    done
}

capture() { # capture FILE NETNS PORT DIRECTION FILTER
    # A snapshot of 64 bytes holds an echo's number.
    dump="tcpdump -n -e -tt -l -s 64 -i $3 -Q $4 $5"
    # shellcheck disable=SC2086  # words of a command
    if [ "$2" = - ]; then in_background "$1" $dump; else in_background "$1" ip netns exec "$2" $dump; fi
}

capture announcements "$netns" "$peer_port" in "(arp or rarp) and ether src $mac"
capture by_bridge_a - "$port_a" out "ether src $mac and not arp and not rarp and not tcp"
capture by_bridge_b "$netns_b" "$port_b" out "ether src $mac and not arp and not rarp and not tcp"
in_background events_a virsh -q qemu-monitor-event --loop --timestamp
in_background events_b virsh -q -c "qemu+unix:///system?socket=$socket_b" qemu-monitor-event --loop --timestamp
in_background cpu perl -e "$cpu_program"
cpu=${running%% *}
main=
case $traffic in
answers) in_background traffic ip netns exec "$netns" ping -D -n -i "$seconds" "$vm" ;;
sends) capture traffic "$netns" "$peer_port" in "icmp[icmptype] == icmp-echo and ether src $mac" ;;
receives)
    capture traffic "$netns" "$peer_port" out "udp dst port 5201 and host $vm"
    in_background client ip netns exec "$netns" iperf3 -c "$vm" -u -b "$rate" -l 100 -t 3600
    ;;
tcp)
    # shellcheck disable=SC2086  # words
    in_background traffic ip netns exec "$netns" $nobody perl -e "$traffic_program" "$peer" "$seconds"
    ;;
esac
main=${running%% *}
if [ "$traffic" = tcp ]; then
    # The VM tries once: port 9001 has to listen, in the namespace of that process.
    tries=0
    until grep -q ':2329 00000000:0000 0A' "/proc/${main%:*}/net/tcp"; do
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || break
        sleep 0.05
    done
fi
date +%s.%N >"$folder/started"
echo '=== ready'
read -r _
date +%s.%N >"$folder/stopped"
# A child in the background of a script ignores SIGINT, but ping sets its own handler.
for process in $main $cpu; do
    signal_process INT "${process%:*}" "${process#*:}"
done
sleep 0.3
end_all
wait
for file in started stopped cpu announcements by_bridge_a by_bridge_b events_a events_b traffic; do
    section "$file" cat "$folder/$file"
done
echo '=== end'
