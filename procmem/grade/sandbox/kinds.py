"""The kinds of sandboxes, and what is the same in all of them."""

from __future__ import annotations

import os

from procmem import native

KINDS = ("bubblewrap", "namespaces", "landlock", "rlimits")
"""From the strongest to the weakest."""

INSIDE = "/submission"
"""Where a job's directory is seen inside: always the same, as figures are."""

PATH = "/usr/local/bin:/usr/bin:/bin"

FIRST, NAMESPACES, LANDLOCK, SOCKETS, LASTING = 1, 2, 4, 8, 16
FLAGS = {
    "bubblewrap": FIRST,
    "namespaces": FIRST | NAMESPACES,
    "landlock": LANDLOCK | SOCKETS | LASTING,
    "rlimits": LASTING,
}
PATIENCE = 30.0
"""Seconds in which a sandbox must be up."""

UIDS = 0x70000000
"""No distribution gives these to anybody (systemd's UIDS-GIDS.md)."""

LEAST_FREE = 1 << 20
"""Bytes below which a disk counts as full."""

PACKAGE = os.path.dirname(os.path.dirname(os.path.realpath(native.__file__)))
LABS = os.path.join(PACKAGE, "labs")
"""Whose solutions no submission may read."""

PAGE = os.sysconf("SC_PAGESIZE")
TEMPORARY = 64 << 20
"""Bytes of /tmp and of /dev/shm inside, each."""


ROOTS = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32")
SYSTEM = (
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives",
    "/etc/localtime", "/sys/devices/system/cpu", "/sys/kernel/mm",
)  # fmt: skip
"""What the dynamic loader, the compiler's names and malloc look at."""
