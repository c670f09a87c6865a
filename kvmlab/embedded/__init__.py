"""The embedded host: a whole KVM host inside one QEMU process, built, started, saved, kept.

`acquire` is the way in::

    with embedded.acquire(preparation=preparation, progress=print) as lease:
        ...  # ssh to lease.address, lease.port with lease.key_path

This room knows how a host comes to be, and no scheme, no fact and no domain. What is done to a
fresh host before it is saved comes in from above as a `Preparation`.
"""

from kvmlab.embedded.choosing import build_all, is_built
from kvmlab.embedded.image import Image, build_image, find_image
from kvmlab.embedded.lease import (
    ENVIRONMENT,
    Lease,
    Preparation,
    RunHost,
    acquire,
    hold,
    ssh_argv,
)
from kvmlab.embedded.settings import Settings
from kvmlab.embedded.shared import down, status, up

__all__ = [
    "ENVIRONMENT",
    "Image",
    "Lease",
    "Preparation",
    "RunHost",
    "Settings",
    "acquire",
    "build_all",
    "build_image",
    "down",
    "find_image",
    "hold",
    "is_built",
    "ssh_argv",
    "status",
    "up",
]
