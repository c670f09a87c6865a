set -x
modprobe 8021q; modprobe bonding max_bonds=0
echo 2 > /sys/bus/pci/devices/0000:0b:00.1/sriov_numvfs
ip -n peer link set p2p2 vf 0 mac 02:00:00:00:00:01
ip link add rec-br type bridge; ip tuntap add rec-tap mode tap; ip tuntap add rec-tun mode tun
ip link set rec-tap master rec-br
ip link add rec-bond type bond mode active-backup
ip link set p1p1 down; ip link set p1p1 master rec-bond; ip link set rec-bond up
ip link add link rec-bond name rec-vlan type vlan id 42
ip link set rec-vlan master rec-br; ip link set rec-br up; ip addr add 198.51.100.9/24 dev rec-br
ip link add link rec-bond name rec-mvt type macvtap mode bridge
echo vfio-pci > /sys/bus/pci/devices/0000:04:00.1/driver_override
echo 0000:04:00.1 > /sys/bus/pci/devices/0000:04:00.1/driver/unbind
echo 0000:04:00.1 > /sys/bus/pci/drivers_probe
echo 16 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages
