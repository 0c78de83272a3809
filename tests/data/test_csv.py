"""csv and tsv: what reads, and what is refused with its place."""

import codecs

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sartor.core.errors import DataError
from sartor.data.api import Limits
from sartor.data.read import read
from sartor.data.readers.csv import Csv

CHINESE = "text,label\n这家店的服务很好，下次还会来,好评\n物流太慢了，我要退款,差评\n"
COMMON = "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能"
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gb18030"]


def rows_of(frame):
    return list(zip(frame["text"], frame["label"], strict=True))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_chinese_reads_the_same_in_every_encoding(tmp_path, encoding):
    (tmp_path / "a.csv").write_bytes(CHINESE.encode(encoding))
    frame = read(["a.csv"], tmp_path).frame
    assert rows_of(frame) == [
        ("这家店的服务很好，下次还会来", "好评"),
        ("物流太慢了，我要退款", "差评"),
    ]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    cells=st.lists(
        st.text(alphabet=COMMON + 'abc ",;\n\t', min_size=1, max_size=30).filter(
            lambda t: t.strip() == t
        ),
        min_size=1,
        max_size=8,
    ),
    encoding=st.sampled_from(ENCODINGS),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
)
def test_what_is_written_is_read_back(tmp_path, cells, encoding, delimiter):
    def quoted(cell):
        return '"' + cell.replace('"', '""') + '"'

    lines = [f"text{delimiter}label", *(f"{quoted(c)}{delimiter}我的标签" for c in cells)]
    (tmp_path / "a.csv").write_bytes("\r\n".join(lines).encode(encoding))
    frame = read(["a.csv"], tmp_path).frame
    assert rows_of(frame) == [(cell, "我的标签") for cell in cells]
    assert frame["__row__"].to_list() == list(range(1, len(cells) + 1))


def test_cells_stay_the_text_they_were(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\nhello,007\nno,1.0\n")
    assert read(["a.csv"], tmp_path).frame["label"].to_list() == ["007", "1.0"]


def test_an_empty_cell_is_missing(tmp_path):
    (tmp_path / "a.csv").write_text('text,label\n,x\n"",y\nz,\n')
    assert read(["a.csv"], tmp_path).frame["text"].to_list() == [None, None, "z"]


def test_a_nul_in_a_text_is_read_for_cleaning_to_list(tmp_path):
    (tmp_path / "a.csv").write_bytes("text,label\nnul\0byte\0s,a\n好的,b\n".encode())
    assert read(["a.csv"], tmp_path).frame["text"].to_list() == ["nul\0byte\0s", "好的"]


def test_a_tsv_with_plain_quotes_reads(tmp_path):
    (tmp_path / "a.tsv").write_text('text\tlabel\n"Great" product\tgood\n5" screen\tbad\n')
    assert rows_of(read(["a.tsv"], tmp_path).frame) == [
        ('"Great" product', "good"),
        ('5" screen', "bad"),
    ]


def test_a_semicolon_file_with_commas_in_its_texts_reads(tmp_path):
    (tmp_path / "a.csv").write_text("text;label\nyes, please, now;a\nno;b\n")
    assert rows_of(read(["a.csv"], tmp_path).frame) == [("yes, please, now", "a"), ("no", "b")]


def test_several_files_keep_their_rows_names(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\nx,1\n")
    (tmp_path / "b.csv").write_text("text,label,lang\ny,2,en\n")
    table = read(["a.csv", "b.csv"], tmp_path)
    assert table.frame["__file__"].to_list() == ["a.csv", "b.csv"]
    assert table.frame["lang"].to_list() == [None, "en"]
    assert [s.rows for s in table.sources] == [1, 1]
    assert len({s.sha256 for s in table.sources}) == 2


BAD = {
    "empty": (b"", "is empty"),
    "only a header": (b"text,label\n", "a header and no rows"),
    "binary": (bytes(range(256)) * 50, "binary"),
    "a png": (b"\x89PNG\r\n\x1a\n" + bytes(50), "a PNG image"),
    "an xlsx by another name": (b"PK\x03\x04" + bytes(100), "a zip or xlsx"),
    "a row too short": (b"text,label\na,b\nc\n", "row 2: 1 cell where the header has 2"),
    "a row too long": (b"text,label\na,b\nc,d,e\n", "row 2: 3 cells where the header has 2"),
    "an open quote": (b'text,label\na,b\n"c,d\ne,f\n', "row 2 .*never closed"),
    "a stray quote": (b'text,label\n"a"b,c\n', "row 1 "),
    "a repeated column": (b"text,text\na,b\n", "column 'text' occurs 2 times"),
    "a bad byte": (b"text,label\na,b\nok \xff\xfe here,d\n", "line 3: byte 0xff at offset 18"),
    "a cut character": ("text,label\n好,好".encode()[:-1], "the file may be cut off"),
    "latin-1": ("text,label\nun café très agréable,oui\n".encode("latin-1"), "is not utf-8"),
    "korean euc-kr": (
        "text,label\n배송이 빠르고 제품이 정말 좋아요 추천합니다,긍정\n".encode("euc-kr"),
        "is not utf-8",
    ),
    "a reserved column": (b"text,__split__\na,mine\n", "'__split__' is reserved"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_refused_with_its_place(tmp_path, kind):
    content, message = BAD[kind]
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read(["bad.csv"], tmp_path)
    assert "bad.csv" in str(caught.value)
    assert caught.value.fix


def test_a_missing_file_names_what_lies_beside_it(tmp_path):
    (tmp_path / "reviews.csv").write_text("text,label\na,b\n")
    with pytest.raises(DataError, match="no such file") as caught:
        read(["review.csv"], tmp_path)
    assert "reviews.csv" in caught.value.fix


def test_an_unknown_ending_lists_the_known_ones(tmp_path):
    (tmp_path / "a.docx").write_bytes(b"x")
    with pytest.raises(DataError, match=r"'\.docx'") as caught:
        read(["a.docx"], tmp_path)
    assert ".csv" in caught.value.fix


def test_a_ten_megabyte_line_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"text,label\n" + b"x" * 10_000_000)
    with pytest.raises(DataError, match=r"line 2 is longer than"):
        read(["a.csv"], tmp_path)


def test_a_cell_beyond_the_limit_is_refused_by_row(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\nok,b\n" + "y" * 500 + ",b\n")
    with pytest.raises(DataError, match=r"row 2 .*longer than 100 characters"):
        Csv().read(tmp_path / "a.csv", limits=Limits(cell_characters=100))


@pytest.mark.parametrize(
    ("limits", "message"),
    [(Limits(rows=2), "more than 2 rows"), (Limits(file_bytes=10), "the limit is 10")],
)
def test_too_much_is_refused(tmp_path, limits, message):
    (tmp_path / "a.csv").write_text("text,label\n" + "a,b\n" * 3)
    with pytest.raises(DataError, match=message):
        Csv().read(tmp_path / "a.csv", limits=limits)


def test_a_bad_byte_far_into_a_large_file_is_found(tmp_path):
    good = "text,label\n" + "好的服务 ok,b\n" * 150_000
    bad = good.encode() + b"bad \xff byte,b\n"
    assert len(bad) > 2 << 20, "the fault must lie beyond the first pieces read"
    (tmp_path / "a.csv").write_bytes(bad)
    with pytest.raises(DataError, match=f"line 150,002: byte 0xff at offset {bad.index(255):,}"):
        read(["a.csv"], tmp_path)


def test_gb18030_that_begins_in_ascii_is_recognised(tmp_path):
    text = "text,label\n" + "plain words,b\n" * 100_000 + "这个东西很好我很喜欢,好\n"
    (tmp_path / "a.csv").write_bytes(text.encode("gb18030"))
    assert read(["a.csv"], tmp_path).frame["text"][-1] == "这个东西很好我很喜欢"


def test_the_mark_of_utf8_is_no_part_of_the_first_column(tmp_path):
    (tmp_path / "a.csv").write_bytes(codecs.BOM_UTF8 + b"text,label\na,b\n")
    assert read(["a.csv"], tmp_path).columns == ["text", "label"]
