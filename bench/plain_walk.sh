#!/bin/sh
# What kvmlab's walk does, as one does it by hand on a KVM host: virsh, iperf3 and a reboot of the VM
# for each scheme. Run it as root on the host:
#
#   sh plain_walk.sh VM PORT PEER_NETNS TRIALS SECONDS SCHEME...      SCHEME: e1000e virtio vhost
#
# It prints "SCHEME WORKLOAD TRIAL Mbit/s", and beside it "=== PHASE" as it goes on, so that whoever
# reads along can tell what takes time. The VM's definition and the port are left as they were found.
set -eu

vm=$1 port=$2 netns=$3 trials=$4 seconds=$5
shift 5
bridge=br-walk mac=52:54:00:77:61:6c vm_address=192.0.2.10/24 peer=192.0.2.1

agent() { # $1: the agent's command with its arguments, as JSON
    virsh --quiet qemu-agent-command "$vm" "$1"
}

guest() { # $1: a line for the VM's shell, without double quotes; prints what it printed
    pid=$(agent "{\"execute\": \"guest-exec\", \"arguments\": {\"path\": \"sh\", \
        \"arg\": [\"-c\", \"$1\"], \"capture-output\": true}}" | sed 's/.*"pid": *\([0-9]*\).*/\1/')
    while :; do
        status=$(agent "{\"execute\": \"guest-exec-status\", \"arguments\": {\"pid\": $pid}}")
        case $status in *'"exited":true'*) break ;; esac
        sleep 0.5
    done
    echo "$status" | sed -n 's/.*"out-data":"\([^"]*\)".*/\1/p' | base64 -d
}

define() { # $1: scheme; the VM's interface, for its next start
    case $1 in
        e1000e) inside="<model type='e1000e'/>" ;;
        virtio) inside="<model type='virtio'/><driver name='qemu'/>" ;;
        vhost) modprobe vhost_net; inside="<model type='virtio'/><driver name='vhost'/>" ;;
        *) echo "There is no scheme $1." >&2; exit 2 ;;
    esac
    cat > /tmp/walk.xml <<EOF
<interface type='bridge'><mac address='$mac'/><source bridge='$bridge'/>$inside</interface>
EOF
    virsh --quiet attach-device "$vm" /tmp/walk.xml --config
}

boot() {
    virsh --quiet start "$vm"
    until agent '{"execute": "guest-ping"}' > /dev/null 2>&1; do sleep 0.5; done
    guest "for i in /sys/class/net/*; do [ \$(cat \$i/address) = $mac ] && \
        ip address add $vm_address dev \${i##*/} && ip link set \${i##*/} up; done" > /dev/null
    until [ "$(guest "ping -c 1 -W 1 $peer > /dev/null && echo yes")" = yes ]; do sleep 0.5; done
}

measure() { # $1: scheme, $2: trial
    for workload in tcp_up tcp_down; do
        reverse=
        [ $workload = tcp_up ] || reverse=-R
        ip netns exec "$netns" iperf3 -s -1 -D -p 5301
        until ip netns exec "$netns" ss -Hltn 'sport = :5301' | grep -q .; do sleep 0.2; done
        mbps=$(guest "iperf3 -c $peer -p 5301 -t $seconds $reverse -f m" |
            sed -n 's/.* \([0-9.]*\) Mbits\/sec.*receiver/\1/p')
        echo "$1 $workload $2 $mbps"
    done
}

give_back() { # whatever happened
    virsh --quiet destroy "$vm" 2> /dev/null || true
    virsh --quiet detach-device "$vm" /tmp/walk.xml --config 2> /dev/null || true
    ip link delete $bridge 2> /dev/null || true
}
trap give_back EXIT

echo "=== bridge"
ip link add $bridge type bridge stp_state 0 forward_delay 0
ip link set "$port" master $bridge
ip link set "$port" up
ip link set $bridge up
for scheme; do
    echo "=== stop"
    virsh --quiet destroy "$vm" 2> /dev/null || true
    define "$scheme"
    echo "=== boot"
    boot
    for trial in $(seq "$trials"); do
        echo "=== traffic"
        measure "$scheme" "$trial"
    done
    echo "=== stop"
    virsh --quiet destroy "$vm"
    virsh --quiet detach-device "$vm" /tmp/walk.xml --config
done
echo "=== end"
