"""What people send, and what comes of it."""

from __future__ import annotations

import gzip
import io
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import zstandard

from workers.engine.errors import TableError
from workers.engine.table.read import read_upload

SMALL = [{"n": 1, "t": "x"}, {"n": 2, "t": "y"}]
CSV = b"n,t\n1,x\n2,y\n"


def _arrow(kind: str) -> bytes:
    table, sink = pa.table({"n": [1, 2], "t": ["x", "y"]}), io.BytesIO()
    if kind == "parquet":
        pq.write_table(table, sink)
    elif kind == "feather":
        pyarrow.feather.write_feather(table, sink)
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("content", "format_"),
    [
        (CSV, "csv"),
        (CSV.replace(b",", b"\t"), "csv"),
        (CSV.replace(b",", b"|"), "csv"),
        (CSV.replace(b"\n", b"\r\n"), "csv"),
        (CSV.decode().encode("utf-8-sig"), "csv"),
        (CSV.decode().encode("utf-16"), "csv"),
        (CSV.decode().encode("utf-16-le"), "csv"),
        (b"\n\n" + CSV.rstrip(), "csv"),
        (gzip.compress(CSV, mtime=0), "csv"),
        (zstandard.compress(CSV), "csv"),
        (gzip.compress(_arrow("parquet"), mtime=0), "parquet"),
        (_arrow("parquet"), "parquet"),
        (_arrow("feather"), "arrow"),
        (_arrow("stream"), "arrow"),
        (b'{"n": 1, "t": "x"}\n\n{"t": "y", "n": 2}', "jsonl"),
        (b"% hi\n@RELATION r\n@attribute n integer\n@attribute t {x, y}\n@data\n1,x\n% no\n2,y\n", "arff"),
    ],
)
def test_reads_the_same_table_when_format_differs(upload, rows_of, content, format_):
    table = upload(content, filename="misleading.xlsx")
    assert (table.format, table.rows, rows_of()) == (format_, 2, SMALL)


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-8", "utf-16"])
def test_keeps_accents_when_encoding_is_not_declared(read, rows_of, encoding):
    read("näme,x\nJosé,1\nZoë,2\n".encode(encoding))
    assert rows_of() == [{"näme": "José", "x": 1}, {"näme": "Zoë", "x": 2}]


def test_reads_decimal_commas_when_delimiter_is_a_semicolon(read, rows_of):
    read(b"price;n\n1.234,50;1\n-0,5;2\n7;3\n")
    assert [row["price"] for row in rows_of()] == [1234.5, -0.5, 7.0]


def test_reads_thousands_when_numbers_are_quoted(read, rows_of):
    read(b'price,n\n"1,234.50",1\n"12,000",2\n')
    assert [row["price"] for row in rows_of()] == [1234.5, 12000.0]


def test_keeps_delimiters_and_line_ends_when_values_are_quoted(read, rows_of):
    read(b'a,b\n"x, ""y""","two\nlines"\nz,1\n')
    assert rows_of()[0] == {"a": 'x, "y"', "b": "two\nlines"}


def test_makes_names_when_there_is_no_header(read):
    table = read(b"5.1,3.5,setosa\n4.9,3.0,setosa\n6.2,3.4,virginica\n")
    assert [info["name"] for info in table.columns] == ["column_1", "column_2", "column_3"]
    assert table.rows == 3


def test_obeys_when_header_is_declared(read):
    assert read(b"1,2\n3,4\n", header=True).rows == 1
    assert read(b"a,b\nc,d\n", header=False).rows == 2


def test_takes_the_first_row_as_header_when_one_of_its_names_is_a_level_too(read):
    rows = b"BC,Female,urban\nQC,Male,urban\nQC,Female,rural\nBC,Male,rural\n" * 5
    table = read(b"province,gender,urban\n" + rows)
    assert [info["name"] for info in table.columns] == ["province", "gender", "urban"]
    assert read(rows).rows == 20


def test_takes_the_first_row_as_header_when_all_is_text(read):
    assert read(b"city,land\nrome,it\nparis,fr\n").rows == 2


def test_makes_names_unique_when_they_repeat(read):
    table = read(b"x,x,,x_2\n1,2,3,4\n5,6,7,8\n")
    assert [info["name"] for info in table.columns] == ["x", "x_3", "column_3", "x_2"]
    assert [alert["column"] for alert in table.alerts if alert["code"] == "renamed_column"] == ["x_3", "column_3"]


@pytest.mark.parametrize(
    "name",
    ["'; DROP TABLE datasets; --", "<script>alert(1)</script>", '{"$ref": "#"}', "../../etc/passwd", "a.b.c", "=1+1"],
)
def test_keeps_the_name_when_it_looks_like_code(read, rows_of, name):
    quoted = '"' + name.replace('"', '""') + '"'
    table = read(f"{quoted},a\n1,2\n3,4\n".encode())
    assert [info["name"] for info in table.columns] == [name, "a"]
    assert rows_of()[0] == {name: 1, "a": 2}


def test_keeps_the_name_when_it_is_unicode(read):
    table = read("年齢,🌍,naïve\n1,2,3\n4,5,6\n".encode())
    assert [info["name"] for info in table.columns] == ["年齢", "🌍", "naïve"]


def test_separates_columns_when_one_name_is_a_prefix_of_another(load_from):
    columns = load_from(**{"a": [1, 1, 2], "a.b": [3, 4, 5]})
    assert [(info["name"], info["distinct"]) for info in columns] == [("a", 2), ("a.b", 3)]


@pytest.mark.parametrize("token", ["", "NA", "?", "null", ".", "-", "N/A", "nan", "None", " "])
def test_reads_numbers_when_missing_ones_have_a_token(read, rows_of, token):
    table = read(f"a,b\n1.5,x\n{token},y\n2,z\n".encode())
    assert (table.columns[0]["type"], table.columns[0]["missing"]) == ("number", 1)
    assert [row["a"] for row in rows_of()] == [1.5, None, 2.0]


def test_keeps_codes_as_text_when_they_begin_with_zero(read, rows_of):
    read(b"zip,hex\n01234,0x1F\n98765,0x2A\n")
    assert rows_of()[0] == {"zip": "01234", "hex": "0x1F"}


@pytest.mark.parametrize(
    ("values", "second"),
    [
        (("2020-01-31", "2021-02-28"), datetime(2021, 2, 28)),
        (("2020-01-31 10:20", "2021-02-28T11:30"), datetime(2021, 2, 28, 11, 30)),
        (("2020-01-31T10:20:30Z", "2021-02-28T11:30:00+02:00"), datetime(2021, 2, 28, 9, 30)),
        (("31/01/2020", "01/02/2020"), datetime(2020, 2, 1)),
        (("01/31/2020", "02/01/2020"), datetime(2020, 2, 1)),
        (("31.1.2020", "1.2.2020"), datetime(2020, 2, 1)),
        (("31/01/2020 23:59:01", "01/02/2020 00:00:00"), datetime(2020, 2, 1)),
        (("1/31/20", "2/1/20"), datetime(2020, 2, 1)),
        (("31-Jan-2020", "1-Feb-2020"), datetime(2020, 2, 1)),
    ],
)
def test_reads_dates_when_written_in_a_common_way(read, rows_of, values, second):
    table = read(f"d;n\n{values[0]};1\n{values[1]};2\n;3\n".encode())
    assert table.columns[0]["kind"] == "datetime"
    assert [row["d"] for row in rows_of()][1:] == [second, None]


def test_notes_the_format_when_dates_are_not_iso(read):
    assert read(b"d,n\n31/01/2020,1\n01/02/2020,2\n").columns[0]["formats"] == ["%d/%m/%Y"]
    assert "formats" not in read(b"d,n\n2020-01-31,1\n2020-02-01,2\n").columns[0]


def test_widens_the_type_when_a_late_value_does_not_fit(read, rows_of):
    body = "".join(f"{place},{place},01/02/2020\n" for place in range(200_000))
    table = read(f"a,b,d\n{body}2.5,oops,31/12/2020\n".encode())
    assert [info["type"] for info in table.columns] == ["number", "text", "datetime"]
    last = rows_of()[-1]
    assert (last["a"], last["b"], last["d"]) == (2.5, "oops", datetime(2020, 12, 31))
    assert [alert["column"] for alert in table.alerts if alert["code"] == "mixed_types"] == ["b"]


def test_keeps_words_when_they_mean_missing_only_among_numbers(read, rows_of):
    read(b"a,b\nnone,1\nsome,2\nnone,-\n")
    assert [(row["a"], row["b"]) for row in rows_of()] == [("none", 1), ("some", 2), ("none", None)]


def test_unites_keys_when_json_objects_differ(read, rows_of):
    read(b'{"a": 1}\n{"b": true}\n{"a": "2", "c": NaN}\n')
    assert rows_of() == [
        {"a": 1, "b": None, "c": None},
        {"a": None, "b": True, "c": None},
        {"a": 2, "b": None, "c": None},
    ]


def test_settles_other_types_when_parquet_has_them(load_from, rows_of):
    load_from(
        i8=pa.array([1, None], pa.int8()),
        u64=pa.array([1, 2**64 - 1], pa.uint64()),
        f32=pa.array([0.5, float("nan")], pa.float32()),
        dec=pa.array([1, 2], pa.decimal128(10, 2)),
        day=pa.array([0, 1], pa.date32()),
        zoned=pa.array([0, 3_600_000], pa.timestamp("ms", "Europe/Rome")),
        span=pa.array([1500, 2500], pa.duration("ms")),
        words=pa.array(["a", "b"]).dictionary_encode(),
        null=pa.nulls(2),
        bits=pa.array([b"x", b"y"]),
        nul=pa.array(["a\0b", "c"]),
    )
    assert rows_of()[1] == {
        "i8": None,
        "u64": 2.0**64,
        "f32": None,
        "dec": 2.0,
        "day": datetime(1970, 1, 2),
        "zoned": datetime(1970, 1, 1, 1),
        "span": 2.5,
        "words": "b",
        "null": None,
        "bits": "y",
        "nul": "c",
    }
    assert rows_of()[0]["nul"] == "a\ufffdb"


def test_reads_quoted_names_and_values_when_arff_escapes(read, rows_of):
    head = b"@relation r\n@attribute 'it\\'s a' numeric\n@attribute\tb\t{'x y',z}\n@attribute c string\n@data\n"
    table = read(head + b"1,'x y','don\\'t'\n?,z,q\n")
    assert rows_of()[0] == {"it's a": 1, "b": "x y", "c": "don't"}
    assert table.columns[1]["kind"] == "category"


def test_reads_quoted_values_when_the_first_comes_late(read, rows_of):
    """Further down than the dialect is guessed from."""
    read(b"a,b\n" + b"plain,1.5\n" * 10_000 + b'"one, two",2.5\n')
    assert rows_of()[-1] == {"a": "one, two", "b": 2.5}


def test_leaves_no_process_when_the_parent_is_killed(tmp_path):
    """The child dies with its parent."""
    source = tmp_path / "source"
    source.write_bytes(b"a,b\n" + b"123.456,xyz\n" * 3_000_000)
    code = "import sys; from pathlib import Path; from workers.engine.table.read import read_upload;"
    code += f"read_upload(Path({str(source)!r}), Path({str(tmp_path / 'out')!r}))"
    parent = subprocess.Popen([sys.executable, "-c", code])
    child = _wait_for_child(parent.pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(600):
        if not _is_running(child):
            return
        time.sleep(0.05)
    raise AssertionError("the reader outlived its parent")


def _wait_for_child(pid: int) -> int:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    for _ in range(400):
        if children := path.read_text().split():
            return int(children[0])
        time.sleep(0.02)
    raise AssertionError("no child")


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_gives_the_child_no_secret_when_the_parent_has_one(tmp_path, monkeypatch):
    monkeypatch.setenv("WARMSTART_DATABASE_URL", "postgresql://user:hunter2@host/db")
    seen = {}
    real = subprocess.Popen

    def spy(*args, **options):
        seen.update(options["env"])
        return real(*args, **options)

    monkeypatch.setattr(subprocess, "Popen", spy)
    (tmp_path / "source").write_bytes(CSV)
    read_upload(tmp_path / "source", tmp_path / "out")
    assert "hunter2" not in str(seen)


def test_is_one_typed_error_when_the_child_crashes(tmp_path, monkeypatch):
    monkeypatch.setattr("workers.engine.table.read._environment", lambda work: {"PYTHONHOME": "/nowhere"})
    (tmp_path / "source").write_bytes(CSV)
    with pytest.raises(TableError) as caught:
        read_upload(tmp_path / "source", tmp_path / "out")
    assert caught.value.code == "reader_crashed"
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
