# Print what a person changes by hand and an inspection does not read.
. ./prelude.sh

# Run in each namespace by one shell: under emulation every process counts.
# shellcheck disable=SC2016  # the shell of each namespace expands it
report='for device in /sys/class/net/*/device; do
	name=${device%/device} name=${name##*/}
	[ "$name" = "*" ] || { echo "Features for $netns/$name:"; ethtool -k "$name"; }
done
printf "qdiscs\t%s\t" "$netns"; tc -j qdisc show | tr -d "\n"; echo'

interfaces() {
	netns="" sh -c "$report"
	for name in $(ip netns list | cut -d' ' -f1); do
		netns=$name ip netns exec "$name" sh -c "$report"
	done
}

settings() {
	for path in /proc/sys/net/ipv4/ip_forward /sys/module/kvm/parameters/halt_poll_ns \
		/sys/class/net/*/brport/learning /sys/class/net/*/brport/unicast_flood \
		/sys/class/net/*/bridge/ageing_time; do
		[ -r "$path" ] && read -r value <"$path" && echo "$path=$value"
	done
}

section interfaces interfaces
section settings settings
section modules cut -d' ' -f1 /proc/modules
echo "=== end"
