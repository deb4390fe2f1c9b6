"""The malloc functions of the allocators that procmem knows: names, arguments, roles.

Sources: malloc(3), posix_memalign(3) and the C++ standard ([new.delete]); the headers jemalloc.h,
gperftools/tcmalloc.h, mimalloc.h, rpmalloc.h and tbb/scalable_allocator.h.
"""

from __future__ import annotations

from enum import Enum, auto
from itertools import product
from typing import NamedTuple

from procmem.native import lib

__all__ = ["FUNCTIONS", "NUMBER", "RUNTIMES", "AllocatorFunction", "Role"]


class Role(Enum):
    """What a function does with memory."""

    GIVES = auto()
    """Allocates a new block: malloc."""
    STORES = auto()
    """Allocates a new block, and stores its address through its first argument: posix_memalign."""
    RESIZES = auto()
    """Resizes a block, perhaps at another address; if that fails, the old one stays: realloc."""
    RESIZES_OR_FREES = auto()
    """The same, but if that fails, the old block is freed: reallocf."""
    EXPANDS = auto()
    """Resizes a block in place, or leaves it as it is: mi_expand, xallocx."""
    FREES = auto()
    """Frees a block: free."""
    TRIMS = auto()
    """Gives unused memory back to the kernel: malloc_trim."""
    OTHER = auto()
    """Affects blocks in a way that is not tracked, such as freeing a whole heap."""


class AllocatorFunction(NamedTuple):
    """A function of an allocator.

    Attributes:
        symbol: its name in the symbol table.
        name: its name in source code, such as "operator new" for _Znwm.
        role: what it does with memory.
        arguments: the names of its arguments, at most six.
        gives: what it returns: PM_GIVES, PM_FREES and so on (native/tracer.h).
    """

    symbol: str
    name: str
    role: Role
    arguments: tuple[str, ...]
    gives: int

    @property
    def is_operator(self) -> bool:
        """Whether it is operator new or operator delete, or one for arrays."""
        return self.name.startswith("operator ")


MALLOC = """
GIVES malloc size
GIVES calloc nmemb size
RESIZES realloc ptr size
RESIZES reallocarray ptr nmemb size
RESIZES_OR_FREES reallocf ptr size
FREES free ptr
FREES cfree ptr
FREES free_sized ptr size
FREES free_aligned_sized ptr alignment size
GIVES aligned_alloc alignment size
GIVES memalign alignment size
STORES posix_memalign memptr alignment size
GIVES valloc size
GIVES pvalloc size
"""

GNU = """
TRIMS malloc_trim pad
RESIZES recallocarray ptr oldnmemb nmemb size
FREES freezero ptr size
OTHER reallocarr ptr nmemb size
"""

JEMALLOC = """
GIVES mallocx size flags
RESIZES rallocx ptr size flags
EXPANDS xallocx ptr size extra flags
FREES dallocx ptr flags
FREES sdallocx ptr size flags
"""

TCMALLOC = """
GIVES tc_new size
GIVES tc_new_nothrow size
GIVES tc_new_aligned size alignment
GIVES tc_new_aligned_nothrow size alignment
GIVES tc_newarray size
GIVES tc_newarray_nothrow size
GIVES tc_newarray_aligned size alignment
GIVES tc_newarray_aligned_nothrow size alignment
FREES tc_delete ptr
FREES tc_delete_sized ptr size
FREES tc_delete_nothrow ptr
FREES tc_delete_aligned ptr alignment
FREES tc_delete_sized_aligned ptr size alignment
FREES tc_delete_aligned_nothrow ptr alignment
FREES tc_deletearray ptr
FREES tc_deletearray_sized ptr size
FREES tc_deletearray_nothrow ptr
FREES tc_deletearray_aligned ptr alignment
FREES tc_deletearray_sized_aligned ptr size alignment
FREES tc_deletearray_aligned_nothrow ptr alignment
GIVES tc_malloc_skip_new_handler size
"""

# Functions named mi_heap_... have the heap as their first argument.
MIMALLOC = """
GIVES mi_@malloc size
GIVES mi_@zalloc size
GIVES mi_@calloc nmemb size
GIVES mi_@mallocn nmemb size
GIVES mi_@malloc_small size
GIVES mi_@zalloc_small size
RESIZES mi_@realloc ptr size
RESIZES mi_@reallocn ptr nmemb size
RESIZES_OR_FREES mi_@reallocf ptr size
RESIZES mi_@rezalloc ptr size
RESIZES mi_@recalloc ptr nmemb size
GIVES mi_@malloc_aligned size alignment
GIVES mi_@malloc_aligned_at size alignment offset
GIVES mi_@zalloc_aligned size alignment
GIVES mi_@zalloc_aligned_at size alignment offset
GIVES mi_@calloc_aligned nmemb size alignment
GIVES mi_@calloc_aligned_at nmemb size alignment offset
RESIZES mi_@realloc_aligned ptr size alignment
RESIZES mi_@realloc_aligned_at ptr size alignment offset
RESIZES mi_@rezalloc_aligned ptr size alignment
RESIZES mi_@rezalloc_aligned_at ptr size alignment offset
RESIZES mi_@recalloc_aligned ptr nmemb size alignment
RESIZES mi_@recalloc_aligned_at ptr nmemb size alignment offset
GIVES mi_@strdup string
GIVES mi_@strndup string most
GIVES mi_@realpath path string
GIVES mi_heap_alloc_new heap size
GIVES mi_heap_alloc_new_n heap nmemb size
EXPANDS mi_expand ptr size
EXPANDS mi__expand ptr size
RESIZES mi_aligned_recalloc ptr nmemb size alignment
RESIZES mi_aligned_offset_recalloc ptr nmemb size alignment offset
GIVES mi_new size
GIVES mi_new_aligned size alignment
GIVES mi_new_nothrow size
GIVES mi_new_aligned_nothrow size alignment
GIVES mi_new_n nmemb size
RESIZES mi_new_realloc ptr size
RESIZES mi_new_reallocn ptr nmemb size
FREES mi_free_size ptr size
FREES mi_free_size_aligned ptr size alignment
FREES mi_free_aligned ptr alignment
OTHER mi_heap_destroy heap
OTHER mi_reallocarr ptr nmemb size
"""

OTHERS = """
GIVES rpmalloc size
GIVES rpcalloc nmemb size
GIVES rpzalloc size
RESIZES rprealloc ptr size
FREES rpfree ptr
GIVES rpaligned_alloc alignment size
GIVES rpaligned_calloc alignment nmemb size
RESIZES rpaligned_realloc ptr alignment size oldsize flags
GIVES rpmemalign alignment size
STORES rpposix_memalign memptr alignment size
GIVES scalable_malloc size
GIVES scalable_calloc nmemb size
RESIZES scalable_realloc ptr size
FREES scalable_free ptr
STORES scalable_posix_memalign memptr alignment size
GIVES scalable_aligned_malloc size alignment
RESIZES scalable_aligned_realloc ptr size alignment
FREES scalable_aligned_free ptr
GIVES __rg_alloc size alignment
GIVES __rg_alloc_zeroed size alignment
RESIZES __rg_realloc ptr oldsize alignment size
FREES __rg_dealloc ptr size alignment
"""

PREFIXES = ("je_", "_rjem_", "tc_", "mi_", "dl", "sn_", "__libc_")
"""Prefixes of the functions of allocators, or of builds of them, that do not replace malloc."""

GIVEN = {Role.FREES: lib.PM_FREES, Role.TRIMS: lib.PM_COUNTS, Role.OTHER: lib.PM_COUNTS,
         Role.STORES: lib.PM_STORES}  # fmt: skip


def made(lines: str) -> list[AllocatorFunction]:
    found = []
    for line in lines.split("\n"):
        if not line:
            continue
        role, name, *arguments = line.split()
        found.append(function(name, name, Role[role], arguments))
    return found


def function(symbol: str, name: str, role: Role, arguments: list[str]) -> AllocatorFunction:
    # xallocx returns the size of the block, not its address.
    gives = lib.PM_SIZES if name.endswith("xallocx") else GIVEN.get(role, lib.PM_GIVES)
    return AllocatorFunction(symbol, name, role, tuple(arguments), int(gives))


def prefixed(prefix: str, functions: list[AllocatorFunction]) -> list[AllocatorFunction]:
    return [
        function(prefix + one.symbol, prefix + one.name, one.role, list(one.arguments))
        for one in functions
    ]


def operators() -> list[AllocatorFunction]:
    """The symbols of operator new and delete on 64-bit Linux (Itanium C++ ABI)."""
    found = []
    aligned, silent, hint = "St11align_val_t", "RKSt9nothrow_t", "12__hot_cold_t"
    for kind, array in (("w", ""), ("a", "[]")):
        for how, quiet, hot in product(("", aligned), ("", silent), ("", hint)):
            arguments = ["size", *(["alignment"] if how else [])]
            symbol = f"_Zn{kind}m{how}{quiet}{hot}"
            found.append(function(symbol, f"operator new{array}", Role.GIVES, arguments))
    for kind, array in (("l", ""), ("a", "[]")):
        for size, how, quiet in product(("", "m"), ("", aligned), ("", silent)):
            arguments = ["ptr", *(["size"] if size else []), *(["alignment"] if how else [])]
            symbol = f"_Zd{kind}Pv{size}{how}{quiet}"
            found.append(function(symbol, f"operator delete{array}", Role.FREES, arguments))
    return found


def all_functions() -> tuple[AllocatorFunction, ...]:
    common = made(MALLOC)
    found = [*common, *made(GNU), *operators(), *made(JEMALLOC)]
    for prefix in PREFIXES:
        found += prefixed(prefix, common)
        if prefix in ("je_", "_rjem_"):
            found += prefixed(prefix, made(JEMALLOC))
    found += made(TCMALLOC) + made(OTHERS) + made(MIMALLOC.replace("@", ""))
    heaps = "\n".join(line for line in MIMALLOC.split("\n") if "@" in line)
    for one in made(heaps.replace("@", "heap_")):
        found.append(function(one.symbol, one.name, one.role, ["heap", *one.arguments]))
    return tuple({one.symbol: one for one in reversed(found)}.values())[::-1]


FUNCTIONS = all_functions()
"""All functions. If two have the same address in a process, the first one's name is used."""

NUMBER = {one.symbol: number for number, one in enumerate(FUNCTIONS)}

RUNTIMES = {
    "runtime.mallocgc": "Go's runtime has an allocator of its own, runtime.mallocgc",
    "PyObject_Malloc": "CPython allocates objects of up to 512 bytes in its own arenas, with "
    "PyObject_Malloc",
    "JNI_CreateJavaVM": "the Java virtual machine has a heap of its own for objects",
    "_ZN2v87Isolate3NewERKNS0_12CreateParamsE": "V8 has a heap of its own for JavaScript's objects",
    "_emalloc": "PHP has an allocator of its own, emalloc",
}
"""Symbols of runtimes whose own allocators are not traced, and a clause for users about each."""
