#!/bin/sh
# Runs inside the new root filesystem as `make-initrds.sh KERNEL`: packs the lab host's initrd and
# the test VM's image. Both are uncompressed: memory is cheaper than emulated decompression.
set -eu
KERNEL=$1
HERE=/tmp/kvmlab

# copy_binary TREE FILE...: the file with the libraries that it loads
copy_binary() {
    tree=$1
    shift
    for file in "$@"; do
        for part in "$file" $(ldd "$file" 2>/dev/null | grep -o '/[^ ]*'); do
            [ -e "$tree$part" ] || install -D "$(readlink -f "$part")" "$tree$part"
        done
    done
}

# copy_modules TREE NAME...: the modules and all they depend on
copy_modules() {
    tree=$1
    shift
    for name in "$@"; do
        modprobe --set-version "$KERNEL" --show-depends --ignore-install "$name" |
            while read -r verb path rest; do
                [ "$verb" = insmod ] || continue
                [ -e "$tree$path" ] || install -D -m 644 "$path" "$tree$path"
            done
    done
    cp "/usr/lib/modules/$KERNEL/modules.builtin" "/usr/lib/modules/$KERNEL/modules.order" \
        "/usr/lib/modules/$KERNEL/modules.builtin.modinfo" "$tree/usr/lib/modules/$KERNEL/"
    depmod --basedir "$tree" "$KERNEL"
}

skeleton() {
    mkdir -p "$1"/dev "$1"/proc "$1"/sys "$1"/run "$1"/tmp "$1"/usr/bin "$1"/usr/lib "$1"/usr/sbin \
        "$1"/usr/lib64 "$1"/etc "$1"/var/log "$1"/root "$1"/new
    ln -s usr/bin "$1"/bin
    ln -s usr/sbin "$1"/sbin
    ln -s usr/lib "$1"/lib
    ln -s usr/lib64 "$1"/lib64
    install -D /usr/bin/busybox "$1"/usr/bin/busybox
    ln -s busybox "$1"/usr/bin/sh
}

pack() {
    (cd "$1" && find . | LC_ALL=C sort | busybox cpio -o -H newc 2>/dev/null) >"$2"
    rm -rf "$1"
}

# --- the lab host's initrd: finds the read-only root and lays a writable layer of memory over it
T=/tmp/kvmlab-host-initrd
skeleton $T
copy_modules $T virtio_pci virtio_blk squashfs overlay
install "$HERE"/host/initrd-init $T/init
pack $T /boot/initrd-host

# --- the test VM's image
T=/tmp/kvmlab-vm-initrd
skeleton $T
copy_modules $T virtio_pci virtio_net virtio_console virtio_rng e1000 e1000e igb igbvf failover net_failover pci_hotplug 2>/dev/null
copy_binary $T /usr/sbin/qemu-ga /usr/bin/iperf3 /usr/bin/sockperf /usr/sbin/ethtool /usr/bin/ip \
    /usr/sbin/tc /usr/bin/ping /usr/sbin/bridge
# iperf3 aborts at its end without libgcc_s, which pthread_exit loads by name.
copy_binary $T /usr/lib/x86_64-linux-gnu/libgcc_s.so.1
install "$HERE"/vm/init $T/init
cp "$HERE"/vm/passwd $T/etc/passwd
cp "$HERE"/vm/group $T/etc/group
pack $T /var/lib/kvmlab/vm/initrd
cp "/boot/vmlinuz-$KERNEL" /var/lib/kvmlab/vm/vmlinuz
