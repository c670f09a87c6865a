#!/bin/sh
# Builds a small x86_64 QEMU from Debian's own source package. mmdebstrap calls it as `build.sh ROOT`
# once the compiler is installed in ROOT; it works inside ROOT, and leaves the tree to be kept in
# ROOT/kvmlab-out. Standard error tells how far it is.
set -eu
ROOT=$1
mkdir -p "$ROOT"/tmp/kvmlab
cp "$KVMLAB_FILES"/* "$ROOT"/tmp/kvmlab/
chroot "$ROOT" sh -eu /tmp/kvmlab/build-inside.sh >&2
