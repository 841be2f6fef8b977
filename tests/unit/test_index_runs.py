"""Sorted postings to blocks, in the bytes that COPY takes, and what a look-up makes of rows."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.index import postings, runs
from earmark.index.docs import DocTable


def rows_of(data: bytes) -> list[tuple[int, int, int, bytes, bytes]]:
    """run_id, bucket, part, low, posting of each row of binary COPY, read the slow way."""
    rows, at = [], 0
    while at < len(data):
        (columns,) = struct.unpack_from(">h", data, at)
        at += 2
        values = []
        for _ in range(columns):
            (length,) = struct.unpack_from(">i", data, at)
            values.append(data[at + 4 : at + 4 + length])
            at += 4 + length
        rows.append((*(int.from_bytes(value) for value in values[:3]), *values[3:]))
    return rows


def sorted_keys(seed: int, count: int, hashes: int) -> runs.Keys:
    random = np.random.default_rng(seed)
    made = runs.keys(random.integers(0, hashes, count).astype(np.int32), 5, random.integers(0, 8_192, count).astype(np.int32))
    made.sort()
    return made


@pytest.mark.parametrize("low_bits", [0, 3, 8, 9, 16])
def test_blocks_hold_every_posting_once_and_in_order(low_bits: int):
    keys = sorted_keys(1, 5_000, 1 << 18)
    rows = rows_of(b"".join(runs._block_rows(keys, 7, low_bits)))
    assert [row[:3] for row in rows] == sorted({row[:3] for row in rows})
    back = []
    for run_id, bucket, _, low, posting in rows:
        assert run_id == 7
        assert len(low) + len(posting) <= 2_000
        lows = np.frombuffer(low, postings.low_type(low_bits)).astype(np.uint64)
        places = np.frombuffer(posting, "<u4").astype(np.uint64)
        back.append((np.uint64(bucket << low_bits) | lows) << np.uint64(32) | places)
    assert np.array_equal(np.concatenate(back), keys)


def test_a_full_bucket_is_cut_into_parts():
    keys = sorted_keys(1, 1_000, 1)
    rows = rows_of(b"".join(runs._block_rows(keys, 1, 8)))
    assert [(bucket, part, len(posting) // 4) for _, bucket, part, _, posting in rows] == [(0, 0, 400), (0, 1, 400), (0, 2, 200)]


def test_no_keys_are_no_rows():
    assert b"".join(runs._block_rows(np.zeros(0, np.uint64), 1, 8)) == b""


@pytest.mark.parametrize("count, low_bits", [(0, 16), (1_000, 16), (9_000_000, 15), (100_000_000, 12), (1_500_000_000, 8), (10_000_000_000, 5)])
def test_buckets_hold_about_150_postings(count: int, low_bits: int):
    assert runs.low_bits_for(count) == low_bits


TABLE = DocTable(
    track_no=np.array([-1, 10, -1, 30], np.int32),
    first_frame=np.array([0, 0, 0, 8_192], np.int32),
    frames=np.zeros(4, np.int32),
    postings=np.zeros(4, np.int32),
)


def test_only_live_docs_count_and_a_part_lies_behind_the_first():
    found = np.arange(6), np.array([1, 2, 3, 0, 4, 1]), np.array([5, 5, 5, 5, 5, 6])
    query, track_no, frame = postings._live(found, TABLE)
    assert (query.tolist(), track_no.tolist(), frame.tolist()) == ([0, 2, 5], [10, 30, 10], [5, 8_197, 6])
    assert all(len(column) == 0 for column in postings._live(found, DocTable.empty()))


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(0, 1_000))
def test_a_repeated_hash_has_its_postings_at_each_place(asked: list[int], seed: int):
    distinct, inverse = np.unique(np.array(asked, np.int32), return_inverse=True)
    of_hash = np.random.default_rng(seed).integers(0, max(1, len(distinct)), 50 if asked else 0)
    query, which = postings._repeated(of_hash, inverse, len(distinct))
    expected = sorted((place, n) for place in range(len(asked)) for n in range(len(of_hash)) if of_hash[n] == inverse[place])
    assert sorted(zip(query.tolist(), which.tolist(), strict=True)) == expected


@given(st.integers(0, 10_000), st.sampled_from([(4, 1 << 12), (8, 1 << 16), (12, 1 << 16), (16, 1 << 20)]))
def test_decoding_finds_what_was_asked_for_and_nothing_else(seed: int, size: tuple[int, int]):
    low_bits, hashes = size
    keys = np.unique(sorted_keys(seed, 300, hashes))
    random = np.random.default_rng(seed)
    known = np.unique(keys >> np.uint64(32)).astype(np.int32)
    asked = np.unique(np.concatenate([random.choice(known, 20), random.integers(0, hashes, 20).astype(np.int32)]))
    wanted = np.unique(asked >> low_bits)
    rows = [
        (bucket << low_bits, low_bits, 0, part, low, posting)
        for _, bucket, part, low, posting in rows_of(b"".join(runs._block_rows(keys, 1, low_bits)))
        if bucket in wanted
    ]
    query, doc_id, frame = postings._decode(rows, asked, postings.low_type(low_bits))
    got = sorted(((int(asked[q]) << 32) | (int(d) << 13) | int(f)) for q, d, f in zip(query, doc_id, frame, strict=True))
    assert got == [int(key) for key in keys if int(key) >> 32 in asked]
