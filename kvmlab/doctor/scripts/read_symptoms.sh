# Print what the doctor reads beyond an inspection: the kernel's and QEMU's complaints, limits,
# offloads. Changes nothing; run as root. Arguments: interfaces whose offloads are wanted.
. ./prelude.sh

# Only lines of the kinds that a rule knows; the newest last.
complaints='PF still in reset state|VF.* is not trusted|[Ss]poof(ed)? |not doing bus reset'
complaints="$complaints|not enough MMIO resources|VFs already enabled|bus .*out of range"
complaints="$complaints|VFIO_MAP_DMA|RLIMIT_MEMLOCK|is not viable|No interrupt remapping"
complaints="$complaints|nterrupt remapping.*(not|disab)|IOMMU_IOAS_MAP|mlockall|dma_map.*-12"
complaints="$complaints|Cannot allocate memory|cannot limit locked memory|No available IOMMU"
complaints="$complaints|[Mm]ailbox.*(time|fail)|PF is not responding|Failed to communicate with PF"
complaints="$complaints|random MAC|using random|not assigned by administrator"
complaints="$complaints|override administratively set|Unprivileged VF"
complaints="$complaints|MSI-X interrupts available for SR-IOV|support SRIOV configuration"
complaints="$complaints|Reject SRIOV config|BAR [0-9]+: no space|available reset mechanism"
complaints="$complaints|cmd_exec: timeout"
complaints="$complaints|depends on group [0-9]+ which is not owned"

kernel_log() { dmesg | grep -E "$complaints" | tail -n 60; }

qemu_log() {
	for log in /var/log/libvirt/qemu/*.log; do
		[ -r "$log" ] && tail -n 200 "$log"
	done | grep -E "$complaints" | tail -n 40
}

daemon_log() {
	if command -v journalctl >/dev/null; then
		journalctl -q --no-pager -b -o short-iso-precise -n 400 \
			-u libvirtd -u virtqemud -u virtnodedevd
	else
		tail -q -n 400 /var/log/libvirt/libvirtd.log /var/log/libvirt/virtqemud.log
	fi | grep -E "$complaints" | tail -n 40
}

# The host's clock and the time of its boot, in seconds since the epoch.
clock() { echo "$(date +%s) $(sed -n 's/^btime //p' /proc/stat)"; }

# Packets that interfaces lost since they came: what rings and queues could not hold.
drops() {
	for counter in /sys/class/net/*/statistics/tx_dropped /sys/class/net/*/statistics/rx_dropped \
		/sys/class/net/*/statistics/rx_missed_errors; do
		read -r count <"$counter" || continue
		[ "$count" = 0 ] || printf '%s %s\n' "$counter" "$count"
	done
}

# Rings in use and at most (received side), irqbalance and the CPUs that it leaves alone, captures.
tuning() {
	for interface; do
		ethtool -g "$interface" | awk -v name="$interface" '
			$1 == "RX:" { ring[++count] = $2 }
			END { if (count == 2) print "ring", name, ring[2], ring[1] }'
	done
	for state in /sys/class/net/*/brport/state; do
		read -r value <"$state" || continue
		port=${state%/brport/state}
		[ "$value" = 3 ] || echo "blocked ${port##*/} $value"
		read -r value <"$port/brport/unicast_flood"
		[ "$value" != 0 ] || echo "unflooded ${port##*/}"
		ethtool -c "${port##*/}" | sed -n "s/^rx-usecs:[[:space:]]*\([0-9][0-9]*\)$/throttled ${port##*/} \1/p"
	done
	for ageing in /sys/class/net/*/bridge/ageing_time; do
		read -r value <"$ageing" || continue
		bridge=${ageing%/bridge/ageing_time}
		echo "ageing ${bridge##*/} $value"
	done
	ps -eT -o spid=,ni=,comm= | awk '$3 ~ /^vhost-/ { print "nice", $1, $2 }'
	for directory in /proc/[0-9]*; do
		read -r process <"$directory/comm" || continue
		case $process in
		irqbalance) echo 'irqbalance running' ;;
		tcpdump | dumpcap)
			device=$(tr '\0' '\n' <"$directory/cmdline" | sed -n '/^-i$/{n;p;q;};s/^-i\(.\)/\1/p;s/^--interface=//p')
			echo "capture $process ${directory##*/} ${device:-any}"
			;;
		esac
	done
	read -r value </sys/module/vhost_net/parameters/experimental_zcopytx &&
		echo "zerocopy vhost_net $value"
	sed -n 's/^ *IRQBALANCE_BANNED_CPULIST=/banned /p' /etc/default/irqbalance \
		/etc/sysconfig/irqbalance | tr -d '"'
}

# The daemon that starts QEMU: its limit is the limit of its VMs, unless it may raise it.
# One that has ended and still waits for its parent (Z, X) keeps its name and its limits.
daemon() {
	for directory in /proc/[0-9]*; do
		read -r process <"$directory/comm" || continue
		case $process in
		libvirtd | virtqemud)
			state=$(grep -E '^(State|CapEff):' "$directory/status") || continue
			limit=$(grep -E '^Max locked memory' "$directory/limits") || continue
			case $state in
			"State:	"[ZX]*) continue ;;
			esac
			# The 22nd word of stat is its start in ticks of a hundredth of a second after boot.
			printf 'name %s\n%s\n%s\n' "$process" "$limit" "$state"
			sed 's/.*) //' "$directory/stat" | awk '{ print "started", $20 / 100 }'
			return 0
			;;
		esac
	done
}

bridge_netfilter() {
	grep -sH '' /proc/sys/net/bridge/bridge-nf-call-iptables
	iptables -S FORWARD | head -n 200
}

offloads() {
	for interface; do
		echo "interface $interface"
		ethtool -k "$interface" |
			grep -E '^[[:space:]]*((rx|tx)-checksumming|generic-(segmentation|receive)-offload|large-receive-offload|rx-gro-hw|tx-tcp-segmentation|tx-checksum-ip(v4|-generic)):'
	done
}

# Type and place of every file system, as /proc/mounts writes them.
mounts() { awk '{ print $3, $2 }' /proc/mounts | head -n 2000; }

# Entries of bridges that somebody has made, and that do not age; MACs of ports are not among them.
fixed_entries() { bridge fdb show | grep -E ' (static|sticky)( |$)' | head -n 1000; }

# What the kernel says of each known bug of CPUs.
vulnerabilities() { grep -H '' /sys/devices/system/cpu/vulnerabilities/* | sed 's|^/.*/vulnerabilities/||'; }

section kernel_log kernel_log
section qemu_log qemu_log
section daemon_log daemon_log
section daemon daemon
section clock clock
section drops drops
section tuning tuning "$@"
section bridge_netfilter bridge_netfilter
section offloads offloads "$@"
section mounts mounts
section fixed_entries fixed_entries
section vulnerabilities vulnerabilities
echo '=== end'
