# Metadata of the test VM that may explain a figure. Run: sh -s -- INTERFACE tools|-
echo "=== kernel"
uname -srvm
if [ "$2" = tools ]; then
    echo "=== tools"
    iperf3 --version 2>/dev/null | head -n 1
    sockperf --version 2>/dev/null | head -n 1
fi
echo "=== cpu"
grep -c '^processor' /proc/cpuinfo
echo "=== driver"
ethtool -i "$1" 2>/dev/null
echo "=== offloads"
ethtool -k "$1" 2>/dev/null | grep -E '^(rx-checksumming|tx-checksumming|tcp-segmentation-offload|generic-segmentation-offload|generic-receive-offload|large-receive-offload):'
echo "=== end"
