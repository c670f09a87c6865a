# Runs inside the new root: source, patches, configure, compile, and a tree with loader and libraries.
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
find /etc/apt -name '*.list' -exec sed -n 's/^deb /deb-src /p' '{}' + >/tmp/src.list
mv /tmp/src.list /etc/apt/sources.list.d/kvmlab-source.list
echo "kvmlab: fetching the source package of QEMU"
apt-get update -qq
cd /usr/src
apt-get source -qq --download-only qemu
dpkg-source --no-check -x qemu_*.dsc qemu >/dev/null
cd qemu
VERSION=$(dpkg-parsechangelog -S Version)
sh -eu /tmp/kvmlab/apply-patches.sh "$VERSION" /tmp/kvmlab/*.patch
cp /tmp/kvmlab/devices.mak configs/devices/x86_64-softmmu/kvmlab.mak
mkdir build
cd build
echo "kvmlab: configuring QEMU"
../configure --target-list=x86_64-softmmu --without-default-features --without-default-devices \
    --with-devices-x86_64=kvmlab --enable-tcg --enable-slirp --enable-fdt=system --disable-docs \
    --disable-tools --disable-guest-agent --disable-werror --disable-install-blobs \
    --disable-debug-info --enable-malloc-trim --with-pkgversion="$VERSION with kvmlab's patches" \
    >/tmp/configure.log 2>&1 || { tail -n 20 /tmp/configure.log; exit 1; }
# Of some 1,300 lines every hundredth is shown. The pipe hides ninja's exit code: look for the program.
ninja qemu-system-x86_64 2>&1 | sed -u -E '
    /^\[[0-9]+\/[0-9]+\]/ {
        /^\[[0-9]*00\//!d
        s/^\[([^]]*)\].*/kvmlab: compiling QEMU, \1/
    }'
test -x qemu-system-x86_64

OUT=/kvmlab-out
mkdir -p $OUT/usr/bin $OUT/usr/lib64 $OUT/usr/lib/x86_64-linux-gnu $OUT/usr/share/qemu $OUT/usr/share/seabios
strip -o $OUT/usr/bin/qemu-system-x86_64 qemu-system-x86_64
for library in $(ldd qemu-system-x86_64 | grep -o '/[^ ]*'); do
    case $library in
    */ld-linux*) cp -L "$library" $OUT/usr/lib64/ ;;
    *) cp -L "$library" $OUT/usr/lib/x86_64-linux-gnu/ ;;
    esac
done
cp -L /usr/share/seabios/*.bin $OUT/usr/share/seabios/
for file in linuxboot.bin linuxboot_dma.bin multiboot.bin multiboot_dma.bin kvmvapic.bin pvh.bin; do
    [ ! -e /usr/share/qemu/$file ] || cp -L /usr/share/qemu/$file $OUT/usr/share/qemu/
done
echo "$VERSION" >$OUT/version
