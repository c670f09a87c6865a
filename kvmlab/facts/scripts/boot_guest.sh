# Boot a real guest with KVM and stop it as soon as it has shown that it runs.
#
# A device node proves nothing: paravirtual and broken nested KVMs have one, and run firmware, and
# yet no 64-bit kernel starts on them. So the first kernel that can be read is started, which needs
# no disk and writes no file; where there is none, the firmware alone has to do.
#
# Arguments: the QEMU program ("" to look for one), seconds to wait. Prints one line,
# "kernel: …", "firmware: …" or "nothing: …".
. ./prelude.sh
qemu=$1
seconds=$2

for candidate in "$qemu" "$(command -v "qemu-system-$(uname -m)")" /usr/libexec/qemu-kvm; do
	[ -n "$candidate" ] && [ -x "$candidate" ] && break
	candidate=
done
if [ -z "$candidate" ]; then
	echo 'nothing: there is no QEMU on the host'
	exit
fi

machine=q35 console=ttyS0
[ "$(uname -m)" = aarch64 ] && machine=virt,gic-version=host console=ttyAMA0

# boot PATTERN ARG...: start QEMU, print the first line that matches, stop QEMU.
boot() {
	pattern=$1
	shift
	{
		timeout -s KILL "$seconds" "$candidate" -accel kvm -machine "$machine" -cpu host -nodefaults \
			-no-user-config -display none -no-reboot "$@" </dev/null 2>&1 &
		read_start $!
		echo "pid $! $process_start"
		wait
	} | {
		read -r _ pid start
		last=
		while IFS= read -r line; do
			case $line in
			*"$pattern"*)
				printf '%s\n' "$line" | tr -d '\r'
				signal_process TERM "$pid" "$start"
				exit 0
				;;
			esac
			[ -n "$line" ] && last=$line
		done
		printf '%s\n' "$last" | tr -d '\r'
		exit 1
	}
}

for kernel in "/boot/vmlinuz-$(uname -r)" "/lib/modules/$(uname -r)/vmlinuz" /boot/vmlinuz-*; do
	[ -r "$kernel" ] || continue
	if shown=$(boot 'Linux version' -m 256 -serial stdio -kernel "$kernel" \
		-append "console=$console earlyprintk=$console earlycon panic=-1" 2>/dev/null); then
		echo "kernel: $shown"
	else
		echo "nothing: ${shown:-the guest printed nothing}"
	fi
	exit
done

if shown=$(boot 'SeaBIOS (version' -m 16 -chardev stdio,id=out \
	-device isa-debugcon,iobase=0x402,chardev=out 2>/dev/null); then
	echo "firmware: $shown"
else
	echo "nothing: ${shown:-the guest printed nothing}"
fi
