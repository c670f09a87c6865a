# Metadata of the host that may explain a figure. Run: sh -s -- VM_QEMU_PID PORT tools|-
echo "=== kernel"
uname -srvm
if [ "$3" = tools ]; then
    echo "=== tools"
    iperf3 --version 2>/dev/null | head -n 1
    sockperf --version 2>/dev/null | head -n 1
fi
echo "=== qemu"
readlink /proc/"$1"/exe
echo "=== files"
tail -v -n +1 /proc/cmdline /proc/loadavg \
    /sys/devices/system/clocksource/clocksource0/current_clocksource \
    /sys/module/kvm/parameters/halt_poll_ns /sys/module/kvm_amd/parameters/npt \
    /sys/module/kvm_amd/parameters/avic /sys/module/kvm_intel/parameters/ept \
    /sys/module/kvm_intel/parameters/enable_apicv \
    /sys/module/vhost_net/parameters/experimental_zcopytx \
    /proc/sys/net/core/default_qdisc /proc/sys/net/core/rmem_max /proc/sys/net/core/wmem_max \
    /proc/sys/net/core/netdev_budget /proc/sys/net/core/netdev_max_backlog \
    /proc/sys/net/ipv4/tcp_congestion_control /proc/sys/net/ipv4/tcp_rmem \
    /proc/sys/net/ipv4/tcp_wmem /proc/sys/net/bridge/bridge-nf-call-iptables \
    /sys/class/net/"$2"/mtu /sys/class/net/"$2"/speed 2>/dev/null
echo "=== cpu"
grep -m 1 'model name' /proc/cpuinfo
grep -c '^processor' /proc/cpuinfo
echo "=== offloads"
ethtool -k "$2" 2>/dev/null | grep -E '^(rx-checksumming|tx-checksumming|tcp-segmentation-offload|generic-segmentation-offload|generic-receive-offload|large-receive-offload):'
echo "=== end"
