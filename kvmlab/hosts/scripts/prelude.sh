# What scripts share; a line ". ./prelude.sh" in a script that ships with kvmlab is replaced by this.
LC_ALL=C
export LC_ALL

# section NAME COMMAND...: print a section with the command's output and exit code; see
# kvmlab/hosts/script_output.py.
section() {
	section_name=$1
	shift
	printf '=== %s\n' "$section_name"
	"$@" 2>/dev/null </dev/null
	printf '\n=== exit %d\n' "$?"
}

# Set $now to hundredths of a second since boot; nobody sets that clock.
now() {
	read -r now_up _ </proc/uptime
	now_part=${now_up#*.}
	# shellcheck disable=SC2034  # scripts read it
	now=$((${now_up%.*} * 100 + ${now_part#0}))
}
