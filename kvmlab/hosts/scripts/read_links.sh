# Print every symbolic link that matches one of the patterns given as a file whose text is where it
# points to; see kvmlab/hosts/script_output.py. Patterns are expanded here; IFS is empty so that
# nothing splits.
IFS=
for pattern; do
	shift
	# shellcheck disable=SC2086  # a pattern
	set -- "$@" $pattern
done
exec find "$@" -maxdepth 0 -type l -printf '==> %p <==\n%l\n' 2>/dev/null
