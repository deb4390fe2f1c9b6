"""The experiment file-mapping."""

from __future__ import annotations

import os

import pytest

from tests.support.stories import K, claims, labelled, story

pytestmark = pytest.mark.skipif(
    os.sysconf("SC_PAGE_SIZE") != 4096, reason="the figures here are those of 4 KiB pages"
)


def test_file_mapping() -> None:
    told = story("file-mapping")
    found = [(one.step.delta, one.label) for one in told.told if one.step is not None]
    assert (found[0][0].vsz, found[0][0].rss) == (256 * K, 0)
    # One fault maps 16 pages, of a file in memory as of one that the page cache holds.
    around = labelled(told, "read one byte of it").step
    assert around is not None
    # RssShmem is not in smaps_rollup, the source where VmRSS lags.
    assert around.delta.rss_shmem in (64 * K, None)
    assert (around.delta.rss, around.delta.minor) == (64 * K, 1)
    private = labelled(told, "write to page 0, privately").step
    assert private is not None
    assert private.delta.rss_shmem in (0, None)
    assert (private.delta.rss_anon, private.delta.rss, private.delta.minor) == (4 * K, 4 * K, 1)
    past = labelled(told, "read beyond the end of the file").step
    assert past is not None
    assert past.fault is not None
    assert (past.fault.signal, past.fault.code) == (7, 2)
    seen = claims(told)
    assert seen["the file stays as it was"] == 200
    assert seen["the file's size after all this"] == 256 * K
    reads = [d for d, label in found if label == "read all 64 pages"]
    if len(reads) == 2:  # a disk is there
        cold, warm = reads
        assert (cold.rss, cold.minor, cold.major) == (256 * K, 0, 64)
        assert (warm.rss, warm.minor, warm.major) == (256 * K, 4, 0)
        # Like RssShmem, RssFile is not in smaps_rollup.
        assert {cold.rss_file, warm.rss_file} <= {256 * K, None}
