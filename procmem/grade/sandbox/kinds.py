"""The kinds of sandboxes, and what is the same in all of them."""

from __future__ import annotations

import os

from procmem import native

KINDS = ("bubblewrap", "namespaces", "landlock", "rlimits")
"""From the strongest to the weakest."""

INSIDE = "/submission"
"""The path of a job's directory in the sandbox: always the same, so that measurements are, too."""

PATH = "/usr/local/bin:/usr/bin:/bin"

FIRST, NAMESPACES, LANDLOCK, SOCKETS, LASTING = 1, 2, 4, 8, 16
FLAGS = {
    "bubblewrap": FIRST,
    "namespaces": FIRST | NAMESPACES,
    "landlock": LANDLOCK | SOCKETS | LASTING,
    "rlimits": LASTING,
}
PATIENCE = 30.0
"""Seconds within which a sandbox must have started."""

UIDS = 0x70000000
"""The first of the user IDs for jobs; no distribution assigns these (systemd's UIDS-GIDS.md)."""

LEAST_FREE = 1 << 20
"""A disk with less free space than this counts as full."""

PACKAGE = os.path.dirname(os.path.dirname(os.path.realpath(native.__file__)))
LABS = os.path.join(PACKAGE, "labs")
"""Submissions may not read the labs: they contain the solutions."""

PAGE = os.sysconf("SC_PAGESIZE")
TEMPORARY = 64 << 20
"""The size of /tmp and of /dev/shm in the sandbox, each."""


ROOTS = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32")
SYSTEM = (
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives",
    "/etc/localtime", "/sys/devices/system/cpu", "/sys/kernel/mm",
)  # fmt: skip
"""What the dynamic loader, the names of compilers and malloc need."""
