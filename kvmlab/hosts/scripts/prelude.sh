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

# A server that others reach is nobody's, without a way to more; words to stand before its command.
# shellcheck disable=SC2034  # scripts read it
nobody="setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs --"

# A process's number may be another's by the time somebody is to end it: a process is known by its number and its
# start time (clock ticks since boot). No script sends a signal but by these functions.

# Set $process_start to the start time of a process, "" where there is none: read_start PID
read_start() {
	process_start=
	IFS= read -r process_stat 2>/dev/null <"/proc/$1/stat" || return
	# The name before these words may hold blanks and brackets.
	# shellcheck disable=SC2086
	set -- ${process_stat##*) }
	process_start=${20}
}

# is_process PID START: whether the process PID is the one that began at START.
is_process() {
	read_start "$1"
	[ -n "$2" ] && [ "$process_start" = "$2" ]
}

# signal_process SIGNAL PID START: send it a signal if it is that one.
signal_process() { is_process "$2" "$3" && kill "-$1" "$2" 2>/dev/null; }

# signal_group SIGNAL PID START: the same for all processes of the group that it leads.
signal_group() { is_process "$2" "$3" && kill "-$1" "-$2" 2>/dev/null; }

# exec_recorded FILE COMMAND...: write "PID START" of this process to FILE, and become COMMAND. To be run in the
# background; FILE is there before COMMAND runs.
exec_recorded() {
	record=$1
	shift
	# $$ is the shell that started this one.
	read -r recorded _ </proc/self/stat
	read_start "$recorded"
	echo "$recorded $process_start" >"$record" && exec "$@"
}

# is_recorded FILE: whether the process that FILE names is alive.
is_recorded() {
	[ -f "$1" ] && read -r recorded recorded_start <"$1" && is_process "$recorded" "$recorded_start"
}

# signal_recorded SIGNAL FILE: send a signal to the process that FILE names.
signal_recorded() { is_recorded "$2" && signal_process "$1" "$recorded" "$recorded_start"; }
