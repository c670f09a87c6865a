# Print everything that an inspection reads from a host, in one go and without changing anything.
#
# On an emulated host every program that is started costs some 30 ms, so there is one tail for all
# files and one find for all links.
#
# Arguments: a pattern for the names of the kernel modules that matter, then these names.
. ./prelude.sh
modules=$1
shift

identity() {
	uname -nrm
	printf '%s\n' "${SSH_CONNECTION-}"
}

# One block of /proc/cpuinfo stands for all: large hosts have hundreds of equal ones.
one_cpu() { sed '/^$/q' /proc/cpuinfo; }

# Node, whether it is there, and whether this user may read and write it.
nodes() {
	for node in /dev/kvm /dev/vhost-net /dev/net/tun /dev/vfio/vfio; do
		[ -e "$node" ] || continue
		access=no
		[ -r "$node" ] && [ -w "$node" ] && access=yes
		printf '%s %s\n' "$node" "$access"
	done
}

installed_modules() {
	directory=/lib/modules/$(uname -r)
	grep -oEH "^[^:]*/($modules)\.ko" "$directory/modules.dep" "$directory/modules.builtin"
}

# Drivers that are built in and have neither parameters nor a version have no /sys/module entry,
# but their device has a class entry.
present_modules() {
	for module; do
		[ -d "/sys/module/$module" ] && printf '%s\n' "$module"
	done
	[ -d /sys/class/misc/tun ] && echo tun
	[ -d /sys/class/misc/vhost-net ] && echo vhost_net
	[ -d /sys/class/misc/kvm ] && echo kvm
	[ -d /sys/bus/pci/drivers/vfio-pci ] && echo vfio_pci
}

# Class 0x02: network controllers. Only of these are more attributes read.
files() {
	set --
	for device in /sys/bus/pci/devices/*; do
		[ -e "$device/class" ] || continue
		set -- "$@" "$device/class"
		read -r class <"$device/class"
		case $class in
		0x02*) ;;
		*) continue ;;
		esac
		# `reset` can only be written: that it is there is the fact.
		[ -e "$device/reset" ] && printf '==> %s <==\npresent\n' "$device/reset"
		for attribute in vendor device numa_node sriov_totalvfs sriov_numvfs reset_method \
			driver_override sriov_offset sriov_stride sriov_drivers_autoprobe; do
			set -- "$@" "$device/$attribute"
		done
	done
	tail -v -n +1 "$@" /etc/os-release /proc/cmdline /proc/meminfo /proc/modules \
		/sys/devices/system/cpu/online /sys/devices/system/node/online \
		/sys/module/kvm*/parameters/* /sys/module/vfio/parameters/* \
		/sys/kernel/iommu_groups/*/name /sys/class/net/*/speed \
		/sys/class/net/*/phys_port_name /sys/class/net/*/phys_switch_id \
		/sys/devices/system/node/node*/cpulist \
		/sys/kernel/mm/hugepages/*/nr_hugepages /sys/kernel/mm/hugepages/*/free_hugepages \
		/sys/devices/system/node/node*/hugepages/*/nr_hugepages \
		/sys/devices/system/node/node*/hugepages/*/free_hugepages
}

links() {
	find /sys/bus/pci/devices/*/driver /sys/bus/pci/devices/*/physfn \
		/sys/bus/pci/devices/*/virtfn* -maxdepth 0 -type l -printf '==> %p <==\n%l\n'
}

# What exists under the paths given: interfaces, members of groups, namespaces.
entries() {
	for entry; do
		[ -e "$entry" ] && printf '%s\n' "$entry"
	done
	return 0
}

route_to_peer() {
	peer=${SSH_CONNECTION-}
	[ -n "$peer" ] && ip -j route get "${peer%% *}"
}

# Established TCP connections, those of the kernel (NFS, iSCSI) too: local address, how many, local
# port and other end of one, then of at most 64, those of storage first.
connections() {
	awk 'BEGIN {
		split("01BD 035C 0801 0CBC 0CE4 1144 1A85 2A39 5DC7", ports, " ")
		for (place in ports) storage[ports[place]] = 1
	}
	$4 == "01" {
		split($2, own, ":")
		split($3, far, ":")
		address = own[1]
		count[address]++
		port[address] = own[2]
		other[address] = $3
		pair = " " own[2] "/" $3
		if ((own[2] in storage) || (far[2] in storage)) {
			if (++first_count[address] <= 32) first[address] = first[address] pair
		} else if (++rest_count[address] <= 32) rest[address] = rest[address] pair
	}
	END {
		for (address in count)
			print address, count[address], port[address], other[address] \
				first[address] rest[address]
	}
	' /proc/net/tcp /proc/net/tcp6
}

# Who has an IOMMU group open: node, process, program. Of others' processes only root sees any.
vfio_holders() {
	[ -O / ] && echo complete
	find /proc/[0-9]*/fd -lname '/dev/vfio/*' -printf '%l %p\n' | while read -r node path; do
		process=${path#/proc/}
		process=${process%%/*}
		read -r program <"/proc/$process/comm" || continue
		printf '%s %s %s\n' "$node" "$process" "$program"
	done | sort -u
}

versions() {
	ip -V 2>&1 | sed 's/^/iproute2 /'
	getconf PAGESIZE | sed 's/^/page_bytes /'
}

section identity identity
section cpu one_cpu
section nodes nodes
section installed_modules installed_modules
section present_modules present_modules "$@"
section files files
section links links
section iommu entries /sys/class/iommu/*
section groups entries /sys/kernel/iommu_groups/*/devices/*
section names entries /sys/bus/pci/devices/*/net/* /sys/bus/pci/devices/*/virtio*/net/*
section virtio entries /sys/bus/pci/devices/*/virtio*
section wireless entries /sys/class/net/*/wireless /sys/class/net/*/phy80211
section descriptions lspci -Dmmnn
section addresses ip -j -d address show
section default_routes ip -j route show default
section default_routes6 ip -j -6 route show default
section route_to_peer route_to_peer
section routes ip -j route show table all
section routes6 ip -j -6 route show table all
section wireguard wg show all endpoints
section vfio_holders vfio_holders
section versions versions
section connections connections
section namespaces entries /run/netns/*

# Only root may look into namespaces; others come back for them with sudo.
if [ -O / ]; then
	for path in /run/netns/*; do
		[ -e "$path" ] || continue
		namespace=${path##*/}
		section "addresses $namespace" ip -n "$namespace" -j -d address show
		section "speeds $namespace" ip netns exec "$namespace" \
			sh -c 'exec tail -v -n +1 /sys/class/net/*/speed'
	done
fi
echo '=== end'
