# Print the interfaces of every network namespace named in the arguments; needs root.
LC_ALL=C
export LC_ALL

section() {
	name=$1
	shift
	printf '@@ begin %s\n' "$name"
	"$@" 2>/dev/null </dev/null
	printf '\n@@ end %s %d\n' "$name" $?
}

for namespace; do
	section "addresses $namespace" ip -n "$namespace" -j -d address show
	section "speeds $namespace" ip netns exec "$namespace" \
		sh -c 'exec grep -asHZ "" /sys/class/net/*/speed'
done
exit 0
