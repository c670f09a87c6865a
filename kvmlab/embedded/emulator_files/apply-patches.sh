#!/bin/sh
# Apply patches to the source tree in the current directory: `apply-patches.sh VERSION PATCH...`.
# Fails at the first one that does not apply, with the reason and its name.
set -eu
VERSION=$1
shift
for patch in "$@"; do
    name=$(basename "$patch" .patch)
    # Debian's next QEMU may have a change already; it then applies in reverse.
    if reason=$(patch -p1 --batch --forward --fuzz=0 --dry-run <"$patch" 2>&1); then
        patch -p1 --batch --forward --fuzz=0 <"$patch" >/dev/null
        echo "kvmlab: applied $name"
    elif patch -p1 --batch --reverse --force --fuzz=0 --dry-run <"$patch" >/dev/null 2>&1; then
        echo "kvmlab: QEMU $VERSION has $name already"
    else
        echo "$reason"
        echo "kvmlab: $name does not apply to QEMU $VERSION"
        exit 1
    fi
done
