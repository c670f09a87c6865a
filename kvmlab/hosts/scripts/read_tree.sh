# Print every readable file that matches one of the patterns given, each line with its path and a
# NUL byte before it. Patterns are expanded here, on the host; IFS is empty so that nothing splits.
IFS=
for pattern do
	shift
	set -- "$@" $pattern
done
exec grep -asHZ '' -- "$@"
