# Print every symbolic link that matches one of the patterns given, and where it points to, with a
# NUL byte in between.
IFS=
for pattern do
	shift
	set -- "$@" $pattern
done
exec find "$@" -maxdepth 0 -type l -printf '%p\0%l\n' 2>/dev/null
