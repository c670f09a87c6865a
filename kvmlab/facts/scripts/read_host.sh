# Print everything that an inspection reads from a host, in one go and without changing anything.
#
# Each section is framed by "@@ begin NAME" and "@@ end NAME CODE", so that a reader can tell an
# empty answer from a missing one. Files are printed by grep, each line with its path and a NUL
# byte before it. On an emulated host every program that is started costs some 30 ms, so there is
# one grep for all files and one find for all links.
#
# Arguments: a pattern for the names of the kernel modules that matter, then these names.
LC_ALL=C
export LC_ALL
modules=$1
shift

section() {
	name=$1
	shift
	printf '@@ begin %s\n' "$name"
	"$@" 2>/dev/null </dev/null
	printf '\n@@ end %s %d\n' "$name" $?
}

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
		[ -e "$device/reset" ] && printf '%s\0present\n' "$device/reset"
		# One that was emptied prints nothing, and is not the same as none.
		[ -e "$device/reset_method" ] && printf '%s\0\n' "$device/reset_method"
		for attribute in vendor device numa_node sriov_totalvfs sriov_numvfs reset_method \
			driver_override sriov_offset sriov_stride sriov_drivers_autoprobe; do
			set -- "$@" "$device/$attribute"
		done
	done
	grep -asHZ '' "$@" /etc/os-release /proc/cmdline /proc/meminfo /proc/modules \
		/sys/devices/system/cpu/online /sys/devices/system/node/online \
		/sys/module/kvm*/parameters/* /sys/class/net/*/speed \
		/sys/kernel/mm/hugepages/*/nr_hugepages /sys/kernel/mm/hugepages/*/free_hugepages \
		/sys/devices/system/node/node*/hugepages/*/nr_hugepages \
		/sys/devices/system/node/node*/hugepages/*/free_hugepages
}

links() {
	find /sys/bus/pci/devices/*/driver /sys/bus/pci/devices/*/physfn \
		/sys/bus/pci/devices/*/virtfn* -maxdepth 0 -type l -printf '%p\0%l\n'
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
# port and other end of one.
connections() {
	awk '$4 == "01" {
		split($2, own, ":")
		count[own[1]]++
		port[own[1]] = own[2]
		other[own[1]] = $3
	}
	END { for (address in count) print address, count[address], port[address], other[address] }
	' /proc/net/tcp /proc/net/tcp6
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
section descriptions lspci -Dmmnn
section addresses ip -j -d address show
section default_routes ip -j route show default
section default_routes6 ip -j -6 route show default
section route_to_peer route_to_peer
section connections connections
section namespaces entries /run/netns/*

# Only root may look into namespaces; others come back for them with sudo.
[ -O / ] || exit 0
for path in /run/netns/*; do
	[ -e "$path" ] || continue
	namespace=${path##*/}
	section "addresses $namespace" ip -n "$namespace" -j -d address show
	section "speeds $namespace" ip netns exec "$namespace" \
		sh -c 'exec grep -asHZ "" /sys/class/net/*/speed'
done
exit 0
