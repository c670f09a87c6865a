"""The embedded host: a whole KVM host inside one QEMU process, built, started, saved, kept.

`acquire` is the way in::

    with embedded.acquire(preparation=preparation, progress=print) as lease:
        ...  # ssh to lease.address, lease.port with lease.key_path

This room knows how a host comes to be, and no scheme, no fact and no domain. What is done to a
fresh host before it is saved comes in from above as a `Preparation`.
"""

from kvmlab.embedded.cached_builds import cached_builds, verify_builds
from kvmlab.embedded.image import Image, build_image, find_image
from kvmlab.embedded.lease import (
    ENVIRONMENT,
    Lease,
    Preparation,
    SharedHandle,
    acquire,
    hold,
    ssh_argv,
    visit,
)
from kvmlab.embedded.resolver import build_all, is_built
from kvmlab.embedded.settings import Settings
from kvmlab.embedded.shared_cache import share, shared_dir
from kvmlab.embedded.shared_host import down, status, up

__all__ = [
    "ENVIRONMENT",
    "Image",
    "Lease",
    "Preparation",
    "Settings",
    "SharedHandle",
    "acquire",
    "build_all",
    "build_image",
    "cached_builds",
    "down",
    "find_image",
    "hold",
    "is_built",
    "share",
    "shared_dir",
    "ssh_argv",
    "status",
    "up",
    "verify_builds",
    "visit",
]
