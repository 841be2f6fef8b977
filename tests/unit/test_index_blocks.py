"""Postings in rows of `block` and `fresh`: what goes in comes out, once and in order, read by NumPy or the slow way."""

import hashlib
import itertools
import struct
from collections.abc import Iterable, Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.index import blocks
from earmark.index.blocks import Keys, Rows
from earmark.model import Int32

LOW_BITS = (0, 3, 8, 9, 16)
Row = tuple[int, int, int, int, bytes, bytes]


def array_send(values: Sequence[int]) -> bytes:
    """int4[] as PostgreSQL sends it: dimensions, nulls, type, length, first index; then each element's size and itself."""
    return struct.pack(">iiiii", 1, 0, 23, len(values), 1) + b"".join(struct.pack(">ii", 4, value) for value in values)


def copied(pieces: Iterable[bytes]) -> list[Row]:
    """run_id, bucket, part, digest, head, posting of each row of binary COPY, a byte at a time."""
    data, at, made = b"".join(pieces), 0, []
    while at < len(data):
        (columns,) = struct.unpack_from(">h", data, at)
        at += 2
        values = []
        for _ in range(columns):
            (length,) = struct.unpack_from(">i", data, at)
            values.append(data[at + 4 : at + 4 + length])
            at += 4 + length
        assert [len(value) for value in values[:4]] == [4, 4, 2, 4]
        run_id, bucket, part, digest = (int.from_bytes(value, signed=True) for value in values[:4])
        made.append((run_id, bucket, part, digest, values[4], values[5]))
    return made


def entries(head: bytes, low_bits: int) -> list[tuple[int, int]]:
    """(low bits, postings) of each hash in a row's head."""
    return list(struct.iter_unpack("<BB" if low_bits <= 8 else "<HB", head))


def said(rows: Iterable[Row], low_bits: int) -> list[int]:
    """Every posting that rows hold, by the plainest means."""
    found = []
    for _, bucket, _, _, head, posting in rows:
        places = [place for (place,) in struct.iter_unpack("<I", posting)]
        for low, count in entries(head, low_bits):
            found += [(((bucket << low_bits) | low) << 32) | place for place in places[:count]]
            places = places[count:]
        assert not places
    return found


def together(rows: Sequence[Row], low_bits: int) -> Rows:
    """As the server puts rows together."""
    return Rows.of(
        low_bits,
        array_send([row[1] for row in rows]),
        array_send([len(row[4]) for row in rows]),
        array_send([len(row[5]) for row in rows]),
        b"".join(row[4] for row in rows),
        b"".join(row[5] for row in rows),
    )


def all_found(rows: Sequence[Row], low_bits: int, asked: Int32) -> list[int]:
    """Keys of the postings of all asked hashes."""
    count, place = together(rows, low_bits).find(asked)
    return ((np.repeat(asked, count).astype(np.uint64) << np.uint64(32)) | place).tolist()


def sorted_keys(seed: int, count: int, hashes: int) -> Keys:
    random = np.random.default_rng(seed)
    made = [
        blocks.keys(random.integers(0, hashes, count).astype(np.int32), doc_id, random.integers(0, 8_192, count).astype(np.int32)) for doc_id in (5, 77_777)
    ]
    return np.sort(np.concatenate(made))


def keys_of(counts: dict[int, int]) -> Keys:
    """So many postings of each hash."""
    return np.sort(np.concatenate([blocks.keys(np.full(n, hash_, np.int32), hash_ % 500, np.arange(n, dtype=np.int32)) for hash_, n in counts.items()]))


#: A few hashes, near each other and far apart, some with more postings than an entry or a row takes.
many = st.dictionaries(
    st.one_of(st.integers(0, 40), st.integers(0, 2**31 - 1)), st.one_of(st.integers(1, 5), st.sampled_from([254, 255, 256, 439, 440, 441, 900])), max_size=12
)


# ------------------------------------------------------------------------------------------------ keys


@given(st.integers(0, 2**31 - 1), st.integers(0, 3 * blocks.SPAN), st.integers(0, 8_191))
def test_a_key_says_hash_doc_and_frame(hash_: int, doc_id: int, frame: int) -> None:
    (key,) = keys = blocks.keys(np.array([hash_], np.int32), doc_id, np.array([frame], np.int32))
    assert int(key) == (hash_ << 32) | (doc_id % blocks.SPAN << 13) | frame
    assert blocks.hashes_of(keys).tolist() == [hash_]
    assert blocks.hashes_of(keys).dtype == np.int32
    assert blocks.docs_in_span(keys).tolist() == [doc_id % blocks.SPAN]


# ------------------------------------------------------------------------------------------------ fresh


@given(st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 8_191)), max_size=60))
def test_fresh_postings_survive_in_order_of_their_hashes(postings: list[tuple[int, int]]) -> None:
    columns = np.array(postings, np.int32).reshape(-1, 2)
    packed = blocks.pack_fresh(columns[:, 0], columns[:, 1])
    assert packed == b"".join(struct.pack(">ih", *posting) for posting in sorted(postings))
    hashes, frames = blocks.unpack_fresh(packed)
    assert (hashes.dtype, frames.dtype) == (np.int32, np.int32)
    assert list(zip(hashes.tolist(), frames.tolist(), strict=True)) == sorted(postings)


# ------------------------------------------------------------------------------------------------ rows


@pytest.mark.parametrize("low_bits", LOW_BITS)
@pytest.mark.parametrize("hashes", [1, 40, 1 << 12, 1 << 18, 1 << 31])
def test_rows_hold_every_posting_once_and_in_order(low_bits: int, hashes: int) -> None:
    keys = sorted_keys(1, 2_500, hashes)
    rows = copied(blocks.rows(keys, 7, low_bits))
    places = [row[:3] for row in rows]
    assert places == sorted(set(places))
    assert {row[0] for row in rows} == {7}
    assert all(0 < len(row[5]) <= 4 * 440 for row in rows)
    assert said(rows, low_bits) == keys.tolist()
    assert np.array_equal(together(rows, low_bits).keys(), keys)


@given(many, st.sampled_from(LOW_BITS))
def test_whatever_the_hashes_a_posting_is_there_once(counts: dict[int, int], low_bits: int) -> None:
    keys = keys_of(counts) if counts else np.zeros(0, np.uint64)
    rows = copied(blocks.rows(keys, 2**31 - 1, low_bits))
    assert said(rows, low_bits) == keys.tolist()
    if rows:
        assert np.array_equal(together(rows, low_bits).keys(), keys)
    for _, group in itertools.groupby(rows, key=lambda row: row[1]):
        bucket = list(group)
        assert [row[2] for row in bucket] == list(range(len(bucket)))
        assert all(len(row[5]) == 4 * 440 for row in bucket[:-1])


def test_a_full_bucket_is_cut_into_rows_and_a_frequent_hash_into_entries() -> None:
    one_hash = copied(blocks.rows(keys_of({5: 1_000}), 1, 8))
    assert [(bucket, part, entries(head, 8)) for _, bucket, part, _, head, _ in one_hash] == [
        (0, 0, [(5, 255), (5, 185)]),
        (0, 1, [(5, 255), (5, 185)]),
        (0, 2, [(5, 120)]),
    ]
    several = copied(blocks.rows(keys_of({0x1FF05: 500, 0x1FF06: 300, 0x20000: 255, 0x20001: 256}), 1, 9))
    assert [(bucket, part, entries(head, 9)) for _, bucket, part, _, head, _ in several] == [
        (0xFF, 0, [(0x105, 255), (0x105, 185)]),
        (0xFF, 1, [(0x105, 60), (0x106, 255), (0x106, 45)]),
        (0x100, 0, [(0, 255), (1, 185)]),
        (0x100, 1, [(1, 71)]),
    ]


def test_no_keys_are_no_rows() -> None:
    assert list(blocks.rows(np.zeros(0, np.uint64), 1, 8)) == []


def test_the_digest_is_of_all_that_a_row_holds() -> None:
    for _, _, _, digest, head, posting in copied(blocks.rows(sorted_keys(2, 800, 1 << 10), 1, 4)):
        assert digest.to_bytes(4, signed=True) == hashlib.sha256(head + posting).digest()[:4]
        assert digest == blocks.digest(head, posting) == blocks.digest(head + posting)
        assert digest != blocks.digest(head, posting[:-1] + bytes([posting[-1] ^ 1]))


def bytes_in_page(row: Row) -> int:
    """A row's header (24), numbers (16, aligned), two values with a length of 4 each, and its pointer in the page; all aligned."""
    until_posting = 24 + 16 + 4 + len(row[4])
    whole = until_posting + -until_posting % 4 + 4 + len(row[5])
    return whole + -whole % 8 + 4


@pytest.mark.parametrize("low_bits, of_each", [(8, 4), (9, 7), (16, 7)])
def test_four_rows_of_hashes_with_some_postings_each_fit_a_page(low_bits: int, of_each: int) -> None:
    rows = copied(blocks.rows(keys_of(dict.fromkeys(range(256), of_each)), 1, low_bits))
    assert max(len(row[5]) for row in rows) == 4 * 440
    assert max(bytes_in_page(row) for row in rows) <= (8_192 - 24) // 4


def test_a_row_whose_hashes_have_a_posting_each_still_fits_a_page() -> None:
    (row, *_) = copied(blocks.rows(keys_of(dict.fromkeys(range(440), 1)), 1, 16))
    assert (len(row[4]), len(row[5])) == (3 * 440, 4 * 440)


@pytest.mark.parametrize(
    "postings, low_bits", [(0, 16), (1_000, 16), (5_000_000, 16), (9_000_000, 15), (100_000_000, 12), (1_500_000_000, 8), (10_000_000_000, 5), (10**15, 0)]
)
def test_buckets_hold_about_150_postings(postings: int, low_bits: int) -> None:
    assert blocks.low_bits_for(postings) == low_bits
    if 0 < low_bits < 16:
        assert 150 / 2**0.5 <= postings / 2 ** (31 - low_bits) <= 150 * 2**0.5


# ------------------------------------------------------------------------------------------------ finding


@given(many, st.lists(st.integers(0, 2**31 - 1), max_size=5), st.sampled_from(LOW_BITS), st.randoms())
def test_what_was_asked_for_is_found_and_nothing_else(counts: dict[int, int], others: list[int], low_bits: int, random: Random) -> None:
    keys = keys_of(counts | {3: 2})
    asked: Int32 = np.unique(np.array([*random.sample(sorted(counts), len(counts) // 2), *others, 4], np.int32))
    rows = copied(blocks.rows(keys, 1, low_bits))
    random.shuffle(rows)  # the server gives them in whatever order
    count, value = together(rows, low_bits).find(asked)
    assert (count.dtype, value.dtype) == (np.int32, np.uint32)
    assert sorted(all_found(rows, low_bits, asked)) == [key for key in keys.tolist() if key >> 32 in asked]


def test_nothing_is_found_in_rows_that_hold_other_hashes() -> None:
    rows = copied(blocks.rows(keys_of({1: 3, 6: 3}), 1, 16))
    count, value = together(rows, 16).find(np.array([0, 2, 7, 2**31 - 1], np.int32))
    assert (count.tolist(), len(value)) == ([0, 0, 0, 0], 0)


@given(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=20))
def test_arrays_are_read_as_the_server_sends_them(values: list[int]) -> None:
    array = blocks.array(array_send(values))
    assert array.tolist() == values
    assert array.dtype == np.int32


@given(st.lists(st.tuples(st.integers(0, 2**31 - 7), st.integers(0, 6)), max_size=20))
def test_ranges_follow_one_another(pairs: list[tuple[int, int]]) -> None:
    columns = np.array(pairs, np.int32).reshape(-1, 2)
    found = blocks.ranges(columns[:, 0], columns[:, 1])
    assert found.tolist() == [begin + n for begin, count in pairs for n in range(count)]
    assert found.dtype == np.int32


@pytest.mark.parametrize("low_bits", [8, 12])
def test_a_row_that_does_not_add_up_is_left_out_and_the_others_are_read_as_they_are(low_bits: int) -> None:
    keys = sorted_keys(1, 3_000, 1 << 18)
    whole = copied(blocks.rows(keys, 1, low_bits))
    asked = np.unique(blocks.hashes_of(keys))
    assert all_found(whole, low_bits, asked) == keys.tolist()
    run_id, bucket, part, written, head, posting = whole[5]
    for edited in (
        (head + b"\1\2", posting),
        (head, posting[:-4]),
        (head, posting + bytes(4)),
        (b"", posting),
        (head[:-1] + b"\xff", posting),
        (head, posting[:-1]),
    ):
        rows = [*whole[:5], (run_id, bucket, part, written, *edited), *whole[6:]]
        kept = np.concatenate([together([row], low_bits).keys() for row in (*whole[:5], *whole[6:])])
        assert all_found(rows, low_bits, asked) == kept.tolist()
    assert all_found([(*row[:5], b"") for row in whole], low_bits, asked) == []
