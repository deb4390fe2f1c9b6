from __future__ import annotations

import os

from procmem.heap.layout import find_parameters, find_states


def test_arbitrary_memory_holds_no_arena() -> None:
    for seed in range(20):
        data = os.urandom(1 << 14) if seed else bytes(1 << 14)
        assert list(find_states(data, 0x7F0000000000, 8)) == []
        assert list(find_states(data, 0x8000000, 4)) == []
        assert find_parameters(data, 8, [(0x555555559000, 0x555555590000)]) is None


def test_memory_that_only_has_empty_bins_is_no_arena() -> None:
    base = 0x7F0000000000
    words = [base + (index // 2 * 2 - 2) * 8 for index in range(2048)]
    data = b"".join(word.to_bytes(8, "little") for word in words)
    for found in find_states(data, base, 8):
        assert found.system <= found.most_system
