#!/bin/sh
# Turns a fresh Debian root filesystem into the lab host's. mmdebstrap calls it as
# `customize.sh ROOT` with the rights of root inside ROOT (true root, a user namespace or fakeroot).
# KVMLAB_FILES is the directory that this file lies in.
set -eu
ROOT=$1
FILES=$KVMLAB_FILES
KERNEL=$(basename "$(echo "$ROOT"/usr/lib/modules/*)")

# --- kernel modules: only what a KVM host with these network cards can use, uncompressed, since
# every decompressed byte costs emulated instructions at each boot.
modules=$ROOT/usr/lib/modules/$KERNEL/kernel
keep='^(arch|virt|crypto|lib)/
^fs/(squashfs|overlayfs|fuse|nls|autofs)/
^net/(802|8021q|bridge|llc|sched|core|ipv4|ipv6|netfilter|packet|vmw_vsock)/
^drivers/(vhost|vfio|virtio|iommu|ptp|pps|dca|virt)/
^drivers/(block/virtio_blk|block/loop|firmware/qemu_fw_cfg|char/hw_random/virtio|i2c/algos)
^drivers/net/(virtio_net|tun|tap|macvlan|macvtap|veth|dummy|bonding/|net_failover|mdio|phy/|vxlan/|ifb)
^drivers/net/ethernet/intel/(e1000|e1000e|igb|igbvf|ixgbevf|iavf)/
^net/core/failover'
# A module that stays needs those that it depends on: kvm-amd, for one, needs a crypto driver.
sed 's,: *, ,' "${modules%/kernel}/modules.dep" | sed 's,kernel/,,g; s,\.xz,,g' |
    grep -E "$keep" | tr ' ' '\n' | sort -u >"$ROOT"/tmp/kept-modules
(cd "$modules" && find . -name '*.ko.xz' | sed 's,^\./,,; s,\.xz$,,' | sort |
    comm -23 - "$ROOT"/tmp/kept-modules | sed 's,$,.xz,' | xargs rm -f)
rm "$ROOT"/tmp/kept-modules
find "$modules" -name '*.ko.xz' -exec xz -d '{}' +
find "$modules" -type d -empty -delete
chroot "$ROOT" depmod "$KERNEL"

# --- what the lab host never uses
rm -rf "$ROOT"/usr/lib/udev/hwdb* "$ROOT"/usr/share/locale "$ROOT"/usr/share/man \
    "$ROOT"/usr/share/info "$ROOT"/usr/share/zoneinfo "$ROOT"/usr/bin/qemu-system-i386 \
    "$ROOT"/usr/bin/qemu-system-x86_64-microvm "$ROOT"/usr/bin/qemu-storage-daemon \
    "$ROOT"/usr/share/i18n "$ROOT"/boot/System.map-* "$ROOT"/var/lib/apt/lists \
    "$ROOT"/etc/ssh/ssh_host_*
find "$ROOT"/usr/share/doc -mindepth 1 ! -name copyright -type f -delete

# --- the lab host's own files
mkdir -p "$ROOT"/etc/kvmlab "$ROOT"/var/lib/kvmlab/vm "$ROOT"/root/.ssh "$ROOT"/var/log/libvirt
cp -r "$FILES"/host/etc/. "$ROOT"/etc/
chmod 755 "$ROOT"/etc/kvmlab/rc
echo kvmlab >"$ROOT"/etc/hostname
# The key of whoever starts the host comes at boot time; the image holds none.
chmod 700 "$ROOT"/root/.ssh
sed -i "s,^root:[^:]*:,root:*:," "$ROOT"/etc/shadow

# --- boot files of the lab host and the test VM's image, made inside ROOT by its own tools
mkdir -p "$ROOT"/tmp/kvmlab
cp -r "$FILES"/. "$ROOT"/tmp/kvmlab/
chroot "$ROOT" sh /tmp/kvmlab/make-initrds.sh "$KERNEL"
rm -rf "$ROOT"/tmp/kvmlab "$ROOT"/boot/initrd.img-*
