# Print what the doctor reads beyond an inspection: the kernel's and QEMU's complaints, limits,
# offloads. Changes nothing; run as root. Arguments: interfaces whose offloads are wanted.
LC_ALL=C
export LC_ALL

section() {
	name=$1
	shift
	printf '@@ begin %s\n' "$name"
	"$@" 2>/dev/null </dev/null
	printf '\n@@ end %s %d\n' "$name" $?
}

# Only lines of the kinds that a rule knows; the newest last.
complaints='PF still in reset state|VF is not trusted|[Ss]poof(ed)? |not doing bus reset'
complaints="$complaints|not enough MMIO resources|VFs already enabled|bus .* out of range"
complaints="$complaints|VFIO_MAP_DMA|RLIMIT_MEMLOCK|is not viable|interrupt remapping"
complaints="$complaints|Cannot allocate memory|[Mm]ailbox.*(time|fail)|random MAC"

kernel_log() { dmesg | grep -E "$complaints" | tail -n 60; }

qemu_log() {
	for log in /var/log/libvirt/qemu/*.log; do
		[ -r "$log" ] && tail -n 200 "$log"
	done | grep -E "$complaints" | tail -n 40
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
			printf 'name %s\n%s\n%s\n' "$process" "$limit" "$state"
			return 0
			;;
		esac
	done
}

bridge_netfilter() {
	grep -sH '' /proc/sys/net/bridge/bridge-nf-call-iptables
	iptables -S FORWARD | head -n 1
}

offloads() {
	for interface; do
		echo "interface $interface"
		ethtool -k "$interface" |
			grep -E '^(rx-checksumming|tx-checksumming|generic-segmentation-offload):'
	done
}

section kernel_log kernel_log
section qemu_log qemu_log
section daemon daemon
section bridge_netfilter bridge_netfilter
section offloads offloads "$@"
