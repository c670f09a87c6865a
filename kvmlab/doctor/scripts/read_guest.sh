# Print what the doctor reads inside a VM: drivers it has, its interfaces, their channels, rings, offloads.
. ./prelude.sh

# Arguments: drivers. Bound to a bus now, or a module that could be loaded.
drivers() {
	release=$(uname -r)
	for driver; do
		state=missing
		for registered in /sys/bus/*/drivers/"$driver"; do
			[ -d "$registered" ] && state=registered
		done
		# An index may name a file that is not there: small images leave modules out.
		if [ $state = missing ] && [ -n "$(find "/lib/modules/$release" -name "$driver.ko*")" ]; then
			state=available
		fi
		echo "$driver $state"
	done
}

# NAME MAC DRIVER CARRIER
interfaces() {
	for interface in /sys/class/net/*; do
		[ -e "$interface/device/driver" ] || continue
		read -r mac <"$interface/address"
		# A card that is switched off refuses to tell.
		read -r carrier <"$interface/carrier"
		[ -n "$carrier" ] || carrier=off
		driver=$(readlink "$interface/device/driver")
		echo "${interface##*/} $mac ${driver##*/} $carrier"
	done
}

channels() {
	for interface in /sys/class/net/*; do
		[ -e "$interface/device/driver" ] || continue
		echo "interface ${interface##*/}"
		ethtool -l "${interface##*/}"
	done
}

rings() {
	for interface in /sys/class/net/*; do
		[ -e "$interface/device/driver" ] || continue
		echo "interface ${interface##*/}"
		ethtool -g "${interface##*/}"
	done
}

offloads() {
	for interface in /sys/class/net/*; do
		[ -e "$interface/device/driver" ] || continue
		echo "interface ${interface##*/}"
		ethtool -k "${interface##*/}" |
			grep -E '^[[:space:]]*(generic-receive-offload|rx-gro-hw|tx-tcp-segmentation|tx-checksum-ip-generic):'
	done
}

# The kernel's command line, whether its CPU has an x2apic, and what it says of each bug of CPUs.
command_line() { cat /proc/cmdline; }

x2apic() { sed -n '/^flags/{s/.*[[:space:]]x2apic\([[:space:]].*\)*$/yes/;s/^flags.*/no/;p;q;}' /proc/cpuinfo; }

vulnerabilities() { grep -H '' /sys/devices/system/cpu/vulnerabilities/* | sed 's|^/.*/vulnerabilities/||'; }

section drivers drivers "$@"
section interfaces interfaces
section channels channels
section rings rings
section offloads offloads
section command_line command_line
section x2apic x2apic
section vulnerabilities vulnerabilities
echo '=== end'
