"""Functions of each allocator: which are known, and what they do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from procmem import (
    trace,
)
from procmem.tracing.allocators import FUNCTIONS, NUMBER, Role
from procmem.view.mallocs import size_of
from tests.support.targets import PAGE
from tests.support.traced import (
    build,
    command,
    counted,
    given,
    named,
    seen,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(PAGE != 4096, reason="the traced programs count in pages of 4 KiB")


NEWS = """#include <cstdlib>
#include <new>
struct alignas(64) Wide { char bytes[192]; };
int main() {
    void *volatile at;
    at = new char[400000]; delete[] (char *)at;
    at = ::operator new(5001); ::operator delete(at, 5001);
    at = ::operator new(5002, std::nothrow); ::operator delete(at, std::nothrow);
    at = ::operator new[](5003, std::nothrow); ::operator delete[](at, std::nothrow);
    at = ::operator new(5056, std::align_val_t(64)); ::operator delete(at, std::align_val_t(64));
    at = ::operator new[](5120, std::align_val_t(64));
    ::operator delete[](at, 5120, std::align_val_t(64));
    at = ::operator new(5184, std::align_val_t(64), std::nothrow);
    ::operator delete(at, std::align_val_t(64), std::nothrow);
    at = new Wide; delete (Wide *)at;
    at = new Wide[3]; delete[] (Wide *)at;
    at = malloc(6001); free(at);
    at = new int(5);
    std::_Exit(0);
}
"""


SIZES = [400000, 5001, 5002, 5003, 5056, 5120, 5184, 192, 576, 6001]


def library(*names: str) -> str:
    for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"):
        for name in names:
            if os.path.exists(f"{folder}/{name}"):
                return f"{folder}/{name}"
    pytest.skip(f"no {names[0]} here")


ALLOCATORS = {
    "glibc": (),
    "jemalloc": ("libjemalloc.so.2",),
    "tcmalloc": ("libtcmalloc_minimal.so.4",),
    "mimalloc": ("libmimalloc.so.2.0", "libmimalloc.so.2"),
}


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("allocator", ALLOCATORS)
def test_every_form_of_operator_new(place: Path, allocator: str, static: bool) -> None:
    names = ALLOCATORS[allocator]
    words = ["-std=c++17", *(["-static"] if static else [])]
    if static and allocator != "glibc":
        words += [f"-l{allocator if allocator != 'tcmalloc' else 'tcmalloc_minimal'}", "-lpthread"]
    made = build(place, NEWS, *words, compiler="g++", name="news")
    environment = {**os.environ, "LD_PRELOAD": library(*names)} if names and not static else None
    if subprocess.run([made], env=environment, check=False).returncode:
        pytest.skip(f"the program does not run with {allocator}")
    traced = trace([made], env=environment, malloc=True)
    assert traced.returncode == 0
    if not any(one.names for one in traced.breakpoints):
        pytest.skip(f"malloc can't be seen here: {[one.reason for one in traced.breakpoints]}")
    sizes = [size_of(c) for c in traced if c.is_function and c.address]
    for size in SIZES:
        assert sizes.count(size) == 1, size
    mallocs = counted(traced)
    assert mallocs.unseen() == []
    # One thing leaks, and it is 4 bytes; the libraries keep what they like.
    left = list(given(traced).values())
    assert 4 in left
    assert not set(SIZES) & set(left)


EXTENDED = """#include <jemalloc/jemalloc.h>
#include <stdlib.h>
int main(void) {
    void *volatile a = mallocx(7001, 0), *volatile b = mallocx(7002, MALLOCX_ALIGN(64));
    a = rallocx(a, 70010, 0);
    xallocx(b, 7003, 0, 0);
    sdallocx(a, 70010, 0);
    dallocx(b, 0);
    a = mallocx(7004, 0);
    _Exit(0);
}
"""


TCMALLOC = """#include <gperftools/tcmalloc.h>
#include <stdlib.h>
int main(void) {
    void *volatile a = tc_malloc(7001), *volatile b = tc_memalign(64, 7002);
    a = tc_realloc(a, 70010);
    tc_free_sized(a, 70010);
    tc_free(b);
    b = tc_calloc(7, 1000);
    tc_cfree(b);
    a = tc_malloc(7004);
    _Exit(0);
}
"""


MIMALLOC = """#include <mimalloc.h>
#include <stdlib.h>
int main(void) {
    void *volatile a = mi_malloc(7001), *volatile b = mi_malloc_aligned(7002, 64);
    a = mi_realloc(a, 70010);
    mi_free_size(a, 70010);
    b = mi_reallocf(b, 9000);
    mi_free(b);
    b = mi_calloc(7, 1000);
    b = mi_reallocn(b, 8, 1000);
    mi_free(b);
    b = mi_zalloc(50); mi_free(b);
    b = mi_strdup("a text"); mi_free(b);
    a = mi_malloc(7004);
    _Exit(0);
}
"""


@pytest.mark.parametrize(
    "source, link, expected",
    [
        (EXTENDED, "-ljemalloc", {"mallocx": 3, "rallocx": 1, "xallocx": 1, "dallocx": 1}),
        (TCMALLOC, "-ltcmalloc_minimal", {}),
        (MIMALLOC, "-lmimalloc", {"mi_reallocn": 1}),
    ],
    ids=["jemalloc", "tcmalloc", "mimalloc"],
)
def test_functions_of_an_allocators_own(
    place: Path, source: str, link: str, expected: dict[str, int]
) -> None:
    made = build(place, source, link, name="own")
    traced = trace([made], malloc=True)
    assert traced.returncode == 0
    if not any(one.names for one in traced.breakpoints):
        pytest.skip(f"malloc can't be seen here: {[one.reason for one in traced.breakpoints]}")
    sizes = [size_of(c) for c in traced if c.is_function and c.address]
    assert [sizes.count(size) for size in (7001, 7002, 70010, 7004)] == [1] * 4
    for name, count in expected.items():
        assert len(named(traced, name)) == count
    mallocs = counted(traced)
    assert mallocs.unseen() == []
    left = list(given(traced).values())
    assert 7004 in left
    assert not {7001, 7002, 7003, 70010, 7000, 8000, 9000} & set(left)


REFUSED = """#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
int main(int count, char **words) {
    char *volatile kept = malloc(1000), *volatile none;
    if (count > 1) none = realloc(kept, SIZE_MAX / 2); else none = reallocarray(kept, SIZE_MAX, 2);
    none = malloc(2000);
    none = count > 1 ? realloc(none, 3000) : reallocarray(none, 3, 1000);
    _exit(0);
}
"""


def test_reallocarray_is_as_realloc(place: Path) -> None:
    made = build(place, REFUSED, name="refused")
    seen(str(made))
    said = []
    for words in ([], ["x"]):
        text = command("--malloc", "--", made, *words).stderr
        assert "Never freed: 2 pieces, 4,000 bytes." in text
        assert re.search(r" realloc(array)? +1,000 bytes to \d[\d,]+ bytes: refused", text)
        assert re.search(r" realloc(array)? +2,000 bytes to 3,000 bytes: ", text)
        said.append(re.findall(r"Small pieces .*", text))
    assert said[0] == said[1]


def test_the_table_of_functions_is_sound() -> None:
    assert len({one.symbol for one in FUNCTIONS}) == len(FUNCTIONS) < 1 << 15
    for one in FUNCTIONS:
        assert len(one.arguments) <= 6
        unsized = one.role in (Role.FREES, Role.TRIMS, Role.OTHER) or "string" in one.arguments
        assert "size" in one.arguments or unsized
        if one.role in (Role.RESIZES, Role.RESIZES_OR_FREES, Role.EXPANDS, Role.FREES):
            assert "ptr" in one.arguments
    demangler = shutil.which("c++filt")
    if demangler:
        for one in FUNCTIONS:
            if one.is_operator and "hot_cold" not in one.symbol:
                told = subprocess.run([demangler, one.symbol], capture_output=True, text=True,
                                      check=True).stdout  # fmt: skip
                assert told.startswith(one.name + "("), one
    assert NUMBER["malloc"] == 0
