# Print the interfaces of every network namespace named in the arguments; needs root.
. ./prelude.sh

for namespace; do
	section "addresses $namespace" ip -n "$namespace" -j -d address show
	section "speeds $namespace" ip netns exec "$namespace" \
		sh -c 'exec tail -v -n +1 /sys/class/net/*/speed'
done
echo '=== end'
