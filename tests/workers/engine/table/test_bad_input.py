"""Every file that people really send and that is no table: a stable code, and a message that says what to do."""

from __future__ import annotations

import gzip
import io
import random
import struct

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from workers.engine.table.read import ReadLimits


def test_says_empty_when_file_has_no_bytes(refuse):
    assert str(refuse(b"", "empty_file")) == "The file is empty."


def test_says_empty_when_file_is_white_space(refuse):
    assert "nothing but white space" in str(refuse(b" \n\r\n\t\n", "empty_file"))


def test_names_the_header_when_there_are_no_rows(refuse):
    assert str(refuse(b"age,job\n", "no_rows")) == "The table has a header (age, job) and no rows."


def test_lists_readable_formats_when_file_is_binary_junk(refuse):
    junk = random.Random(0).randbytes(5000)
    assert "Readable are CSV, TSV, Parquet" in str(refuse(junk, "nul_bytes"))


def test_lists_readable_formats_when_binary_has_no_nul(refuse):
    junk = bytes(random.Random(0).choices(range(1, 256), k=5000))
    assert "binary data of an unknown format" in str(refuse(junk, "unknown_format"))


@pytest.mark.parametrize(
    ("head", "words"),
    [(b"PK\x03\x04", "Excel"), (b"%PDF-1.7", "PDF"), (b"BZh9", "gzip or zstd"), (b"\x80\x04\x95\0", "never loaded")],
)
def test_names_the_foreign_format_when_magic_is_known(refuse, head, words):
    assert words in str(refuse(head + b"\0" * 100, "unknown_format"))


def test_names_the_row_when_rows_are_ragged(refuse):
    message = str(refuse(b"a,b\n1,2\n3,4,5\n6,7\n", "ragged_rows"))
    assert message.startswith("Row 3 has 3 values where 2 are expected (delimiter ','): '3,4,5'.")


def test_names_the_row_when_a_row_is_short(refuse):
    assert "Row 4 has 2 values where 3 are expected" in str(refuse(b"a,b,c\n1,2,3\n4,5,6\n7,8\n", "ragged_rows"))


def test_counts_columns_when_there_are_10_000(refuse):
    header = ",".join(f"column_number_{place}" for place in range(10_000))
    values = ",".join("1" for _ in range(10_000))
    message = str(refuse(f"{header}\n{values}\n".encode(), "too_many_columns"))
    assert message == "The table has 10,000 columns; at most 5,000 are allowed."


def test_names_the_byte_when_text_has_nul(refuse):
    assert str(refuse(b"a,b\n1,x\0y\n", "nul_bytes")).startswith("Byte 8 is NUL: the file is binary or damaged.")


def test_names_the_byte_when_encodings_are_mixed(refuse):
    mixed = "name\nJosé\n".encode() + "Zoë\n".encode("latin-1")
    assert "UTF-8 at first, but not at byte 14" in str(refuse(mixed, "wrong_encoding"))


def test_refuses_when_a_small_parquet_claims_4_gb(refuse):
    assert "claims" in str(refuse(_lying_parquet(4 << 30), "compression_ratio"))


def test_says_damaged_when_a_parquet_page_lies_about_its_size(refuse):
    """The footer is honest, the page header is not: what arrow #49955 is about."""
    content = bytearray(_parquet(pa.table({"a": pa.array(["x" * 50] * 100)}), compression="snappy"))
    place = content.index(b"\x15", 4)
    content[place + 2 : place + 8] = b"\x15" + b"\xfe\xff\xff\xff\x0f"
    error = refuse(bytes(content), "damaged_file", limits=ReadLimits(memory_mb=256, seconds=20))
    assert "Parquet file is damaged" in str(error)


def test_refuses_when_gzip_is_a_bomb(refuse):
    bomb = gzip.compress(b"0" * 40_000_000)
    assert "more than 200 times its size" in str(refuse(bomb, "compression_ratio"))


def test_refuses_when_zstd_is_a_bomb(refuse):
    bomb = zstandard.compress(b"1,2\n" * 10_000_000)
    assert "Send it uncompressed" in str(refuse(bomb, "compression_ratio"))


def test_refuses_when_decompressed_size_is_over_the_limit(refuse):
    packed = gzip.compress(random.Random(0).randbytes(100_000).hex().encode())
    assert "larger than 1,000 bytes" in str(refuse(packed, "too_large", limits=ReadLimits(max_bytes=1000)))


def test_says_cut_short_when_gzip_is_truncated(refuse):
    assert "cut short" in str(refuse(gzip.compress(b"a,b\n1,2\n" * 100)[:-9], "damaged_file"))


def test_says_damaged_when_parquet_is_truncated(refuse):
    assert "Parquet file is damaged" in str(refuse(_parquet(pa.table({"a": [1, 2]}))[:-6], "damaged_file"))


def test_says_damaged_when_arrow_is_truncated(refuse):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, pa.schema({"a": pa.int64()})) as writer:
        writer.write_batch(pa.record_batch({"a": list(range(1000))}))
    assert "Arrow file is damaged" in str(refuse(sink.getvalue().to_pybytes()[:2000], "damaged_file"))


def test_says_how_when_json_is_an_array(refuse):
    assert "one object a line" in str(refuse(b'[{"a": 1},\n {"a": 2}]', "json_array"))


def test_names_the_line_when_json_is_broken(refuse):
    assert str(refuse(b'{"a": 1}\n{"a": \n', "bad_json")).startswith("Line 2 is not JSON")


def test_survives_when_json_is_nested_without_end(refuse):
    assert "Line 1" in str(refuse(b'{"a":' + b"[" * 200_000, "bad_json"))


def test_names_the_column_when_values_are_nested(refuse):
    assert "Column 'tags' holds lists or objects" in str(refuse(b'{"a": 1, "tags": ["x"]}\n', "nested_values"))
    nested = _parquet(pa.table({"tags": pa.array([[1], [2, 3]])}))
    assert "Column 'tags' holds lists or objects" in str(refuse(nested, "nested_values"))


def test_says_so_when_arff_is_sparse(refuse):
    sparse = b"@relation r\n@attribute a numeric\n@attribute b numeric\n@data\n{0 1}\n"
    assert "Sparse ARFF is not supported" in str(refuse(sparse, "bad_arff"))


def test_says_so_when_arff_has_no_data(refuse):
    assert "no @data line" in str(refuse(b"@relation r\n@attribute a numeric\n", "bad_arff"))


def test_blames_the_quote_when_it_never_closes(refuse):
    assert "never closes" in str(refuse(b'a,b\n1,"x\n' + b"2,y\n" * 100, "open_quote"))


def test_says_too_long_when_the_first_row_never_ends(refuse):
    assert "longer than 8 MiB" in str(refuse(b"1," * 5_000_000, "row_too_long"))


def test_counts_rows_when_there_are_too_many(refuse):
    content = b"a,b\n" + b"1,2\n" * 50
    assert "more than 20 rows" in str(refuse(content, "too_many_rows", limits=ReadLimits(max_rows=20)))


def test_stops_when_memory_runs_out(refuse):
    long = pa.array(["x" * 2_000_000]).dictionary_encode()
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), long.dictionary)
    content = _parquet(pa.table({"a": column}), compression="zstd")
    assert "more memory than allowed" in str(refuse(content, "out_of_memory", limits=ReadLimits(memory_mb=300)))


def test_stops_when_time_runs_out(refuse):
    content = b"a,b\n" + b"12345.678,xyz\n" * 2_000_000
    assert "took longer than 0.3 s" in str(refuse(content, "out_of_time", limits=ReadLimits(seconds=0.3)))


def _parquet(table: pa.Table, **options: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def _lying_parquet(claim: int) -> bytes:
    """A valid file of a few hundred bytes whose footer claims so many bytes of data."""
    table = pa.table({"a": pa.array([7] * 1_000_000, pa.int64())})
    content = _parquet(table, compression="zstd")
    size = pq.read_metadata(io.BytesIO(content)).row_group(0).total_byte_size
    honest, lie = _varint(size), _varint(claim)
    footer_bytes = struct.unpack("<I", content[-8:-4])[0]
    body, footer = content[: -8 - footer_bytes], content[-8 - footer_bytes : -8]
    assert footer.count(honest) >= 1
    footer = footer.replace(honest, lie)
    return body + footer + struct.pack("<I", len(footer)) + b"PAR1"


def _varint(number: int) -> bytes:
    """Thrift compact encoding of a signed integer."""
    number <<= 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
