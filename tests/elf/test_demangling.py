"""Names of Rust and C++ functions."""

from __future__ import annotations

import time

import pytest

from procmem.elf import demangle


@pytest.mark.parametrize(
    "mangled, name",
    [
        ("_RNvCs1234_7mycrate3foo", "mycrate::foo"),
        ("_RNvC6_123foo3bar", "123foo::bar"),
        ("_RNvC7mycratees_3foo", None),
        ("_RINvNtC3std3mem8align_ofjdE", "std::mem::align_of::<usize, f64>"),
        ("_RNCNvCsgStHSCytQ6I_7mycrate4main0", "mycrate::main::{closure#0}"),
        ("_RNvMs_C7mycrateNtB4_3Foo3bar", "<mycrate::Foo>::bar"),
        ("_RNvXs_C7mycrateNtB4_3FooNtB4_5Trait3bar", "<mycrate::Foo as mycrate::Trait>::bar"),
        ("_RNvYNtC7mycrate3FooNtB4_5Trait3bar", "<mycrate::Foo as mycrate::Trait>::bar"),
        ("_RIC1aRShE", "a::<&[u8]>"),
        ("_RIC1aQTlmEE", "a::<&mut (i32, u32)>"),
        ("_RIC1aKj7_E", "a::<7>"),
        ("_RIC1aKb1_E", "a::<true>"),
        ("_RIC1aKan5_E", "a::<-5>"),
        ("_RIC1aFUKChEuE", 'a::<unsafe extern "C" fn(u8)>'),
        ("_RIC1aDNtC4core4SendEL_E", "a::<dyn core::Send>"),
        ("_RNvC7mycrateu8gdel_5qa", "mycrate::gödel"),
        ("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE", "core::fmt::Write::write_fmt"),
        (
            "_ZN50_$LT$T$u20$as$u20$core..convert..Into$LT$U$GT$$GT$4into17h8581507801fb8615E",
            "<T as core::convert::Into<U>>::into",
        ),
        ("main", None),
        ("", None),
        ("_Z", None),
        ("_R", None),
        ("_RNvNvNv", None),
        ("_RB_", None),
        ("_ZN", None),
    ],
)
def test_names_of_rust(mangled: str, name: str | None) -> None:
    assert demangle(mangled) == name


has_cplusplus = demangle("_Znwm") is not None


needs_cplusplus = pytest.mark.skipif(not has_cplusplus, reason="libstdc++.so.6 is not here")


@needs_cplusplus
@pytest.mark.parametrize(
    "mangled, name",
    [
        ("_Znwm", "operator new(unsigned long)"),
        (
            "_ZNSt6vectorIiSaIiEE9push_backERKi",
            "std::vector<int, std::allocator<int> >::push_back(int const&)",
        ),
        ("_Z3foov@plt", "foo()@plt"),
        ("_ZN3foo3barEi.cold", "foo::bar(int) [clone .cold]"),
    ],
)
def test_names_of_cplusplus(mangled: str, name: str) -> None:
    assert demangle(mangled) == name


def test_hostile_names_neither_hang_nor_grow() -> None:
    pair = "_Z1fSt4pairIiiE" + "".join(
        f"St4pairIS{c}_S{c}_E" for c in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    )
    refs = "_RIC1a" + "".join(f"TB{c}_B{c}_E" for c in "456789abcdefghijklmnop") + "E"
    names = [
        pair,
        refs,
        "_Z" + "P" * 8000 + "i",
        "_Z" + "N" * 8000,
        "_RNv" * 2000,
        "_R" + "IC1a" * 2000,
        "_RIC1aFG" + "z" * 12 + "_uEuE",
        "_Z1f" + "1A" * 100_000,
        "_ZN" + "9" * 400 + "E",
    ]
    begin = time.process_time()
    for name in names:
        found = demangle(name)
        assert found is None or len(found) <= 8192
    assert time.process_time() - begin < 60
