# Print everything that an inspection reads from a host, in one go and without changing anything.
#
# Each section is framed by "@@ begin NAME" and "@@ end NAME CODE", so that a reader can tell an
# empty answer from a missing one. Files are printed by grep, each line with its path and a NUL
# byte before it. Arguments: the names of the kernel modules that matter.
LC_ALL=C
export LC_ALL

section() {
	name=$1
	shift
	printf '@@ begin %s\n' "$name"
	"$@" 2>/dev/null </dev/null
	printf '\n@@ end %s %d\n' "$name" $?
}

identity() {
	printf 'uid=%s\nhost_name=%s\nkernel=%s\narchitecture=%s\nssh_connection=%s\n' \
		"$(id -u)" "$(uname -n)" "$(uname -r)" "$(uname -m)" "${SSH_CONNECTION-}"
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
	release=$(uname -r)
	pattern=$(printf '%s|' "$@" | sed 's/_/[-_]/g; s/|$//')
	grep -oEH "^[^:]*/($pattern)\.ko" "/lib/modules/$release/modules.dep" \
		"/lib/modules/$release/modules.builtin"
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

# Class 0x02: network controllers. Only for these are the attributes read.
network_functions() {
	set --
	for device in /sys/bus/pci/devices/*; do
		read -r class <"$device/class" || continue
		case $class in
		0x02*) set -- "$@" "$device" ;;
		esac
	done
	[ $# -gt 0 ] || return 0
	for device; do
		shift
		# `reset` can only be written: that it is there is the fact.
		[ -e "$device/reset" ] && printf '%s\0present\n' "$device/reset"
		for attribute in vendor device class numa_node sriov_totalvfs sriov_numvfs \
			reset_method driver_override; do
			set -- "$@" "$device/$attribute"
		done
	done
	grep -asHZ '' "$@"
}

tree() { grep -asHZ '' "$@"; }

links() { find "$@" -maxdepth 0 -type l -printf '%p\0%l\n'; }

# What exists under the paths given: interfaces, and members of groups.
entries() {
	for entry; do
		[ -e "$entry" ] && printf '%s\n' "$entry"
	done
}

# Descriptions of network controllers, from the host's own list of PCI names.
descriptions() { lspci -Dmmnn | grep '^[^"]*"[^"]*\[02..\]"'; }

route_to_peer() {
	peer=${SSH_CONNECTION%% *}
	[ -n "$peer" ] && ip -j route get "$peer"
}

section identity identity
section release cat /etc/os-release
section cpu one_cpu
section counts tree /sys/devices/system/cpu/online /sys/devices/system/node/online \
	/proc/cmdline
section memory grep '^MemTotal:' /proc/meminfo
section nodes nodes
section loaded_modules cut -d' ' -f1 /proc/modules
section installed_modules installed_modules "$@"
section present_modules present_modules "$@"
section kvm_parameters tree /sys/module/kvm*/parameters/*
section iommu entries /sys/class/iommu/*
section groups entries /sys/kernel/iommu_groups/*/devices/*
section classes tree /sys/bus/pci/devices/*/class
section functions network_functions
section function_links links /sys/bus/pci/devices/*/driver /sys/bus/pci/devices/*/physfn \
	/sys/bus/pci/devices/*/virtfn*
section function_names entries /sys/bus/pci/devices/*/net/* /sys/bus/pci/devices/*/virtio*/net/*
section virtio_devices entries /sys/bus/pci/devices/*/virtio*
section descriptions descriptions
section speeds tree /sys/class/net/*/speed
section addresses ip -j -d address show
section default_routes ip -j route show default
section default_routes6 ip -j -6 route show default
section route_to_peer route_to_peer
section namespaces ls /run/netns
section hugepages tree /sys/kernel/mm/hugepages/*/*_hugepages \
	/sys/devices/system/node/node*/hugepages/*/*_hugepages
