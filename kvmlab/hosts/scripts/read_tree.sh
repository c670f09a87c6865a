# Print every readable file that matches one of the patterns given; see
# kvmlab/hosts/script_output.py. Patterns are expanded here; IFS is empty so that nothing splits.
IFS=
for pattern; do
	shift
	# shellcheck disable=SC2086  # a pattern
	set -- "$@" $pattern
done
exec tail -v -n +1 -- "$@" 2>/dev/null
