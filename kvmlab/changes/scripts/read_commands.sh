# read_commands.sh: print the words of every process's command line, each as "/proc/PID/cmdline:WORD"
# with a zero byte after it.
grep -azH '' /proc/[0-9]*/cmdline 2>/dev/null
exit 0
