"""Profile, languages, the guess at columns, and times."""

import datetime

import polars as pl
import pytest

from sartor.core.errors import DataError
from sartor.data.language import language_of, languages
from sartor.data.profile import guess, profile
from sartor.data.times import times_of

SENTENCES = {
    "en": "The delivery was late and nobody answered my calls.",
    "zh": "物流太慢了，我要申请退款，客服也不理我。",
    "ja": "とても良い商品でした。また買いたいと思います。",
    "ko": "배송이 빠르고 제품이 정말 좋아요.",
    "fr": "Le produit est arrivé cassé et le service ne répond pas.",
    "de": "Das Gerät ist leider nicht so gut wie ich dachte.",
    "es": "El producto es muy bueno pero llegó tarde.",
    "it": "Il prodotto è arrivato in ritardo ma sono soddisfatto della qualità.",
    "pt": "O produto é muito bom, mas não chegou com a embalagem.",
    "ru": "Очень хороший товар, всем советую.",
    "ar": "المنتج جيد جدا والتوصيل سريع",
    "tr": "Ürün çok iyi ama kargo için bir hafta bekledim.",
    "nl": "Het product is goed maar de levering was niet op tijd.",
    "vi": "Sản phẩm này rất tốt và giao hàng nhanh.",
}


@pytest.mark.parametrize("code", SENTENCES)
def test_a_sentence_is_in_its_language(code):
    assert language_of(SENTENCES[code]) == code


def test_a_chinese_sentence_that_names_brands_is_chinese():
    assert language_of("我的iPhone 15 Pro Max充电很慢，怎么办") == "zh"


@pytest.mark.parametrize("text", ["", "12345", "👍👍", "??"])
def test_what_tells_nothing_is_undetermined(text):
    assert language_of(text) == "und"


def test_shares_leave_out_what_tells_nothing():
    texts = [SENTENCES["zh"]] * 3 + [SENTENCES["en"]] + ["👍"] * 6
    assert languages(texts) == {"zh": 0.75, "en": 0.25}
    assert languages(["1", "2"]) == {"und": 1.0}
    assert languages([]) == {}


def tickets(n=60):
    bodies = list(SENTENCES.values())
    return pl.DataFrame(
        {
            "ticket_id": [f"T-{i:05}" for i in range(n)],
            "created": [f"2026-01-{i % 28 + 1:02}" for i in range(n)],
            "customer": [f"customer {i % 25}" for i in range(n)],
            "body": [f"{bodies[i % 14]} ({i})" for i in range(n)],
            "team": [("refund", "invoice", "other")[i % 3] for i in range(n)],
            "price": [f"{i * 1.37:.2f}" for i in range(n)],
            "__file__": ["t.csv"] * n,
        }
    )


def test_columns_are_guessed_with_reasons():
    found = guess(tickets())
    assert (found.text, found.label, found.group, found.time) == (
        "body",
        "team",
        "customer",
        "created",
    )
    assert len(found.reasons) == 4


def test_short_intents_and_chinese_names_are_guessed():
    frame = pl.DataFrame(
        {
            "标签": ["开灯", "关灯", "音乐"] * 10,
            "文本": [f"请帮我打开房间{i}的灯" for i in range(30)],
        }
    )
    found = guess(frame)
    assert (found.text, found.label) == ("文本", "标签")


@pytest.mark.parametrize(
    ("text", "label"),
    [("text", "label"), ("内容", "标签"), ("review", "class"), ("Content", "labels")],
)
@pytest.mark.parametrize("cell", ["ok", "the parcel came late", "5"])
def test_columns_of_one_row_are_known_by_their_names(text, label, cell):
    found = guess(pl.DataFrame({label: ["3"], "note": ["x"], text: [cell]}))
    assert (found.text, found.label) == (text, label)


def test_a_name_that_leaves_no_doubt_wins_over_values_that_look_better():
    frame = pl.DataFrame(
        {
            "text": [f"w{i}" for i in range(40)],
            "label": [f"team {i % 30} of many" for i in range(40)],
            "note": [f"{body} ({i})" for i, body in enumerate([*SENTENCES.values()] * 3)][:40],
            "language": ["zh", "en"] * 20,
        }
    )
    found = guess(frame)
    assert (found.text, found.label) == ("text", "label")


def test_a_table_without_text_guesses_none():
    found = guess(pl.DataFrame({"a": [1.5, 2.5, 3.25], "b": [7, 8, 9]}))
    assert (found.text, found.label) == (None, None)


def test_modalities_follow_the_values():
    shown = {c.name: c.modality for c in profile(tickets(), "body", "team").columns}
    assert shown == {
        "ticket_id": "id",
        "created": "category",
        "customer": "group",
        "body": "text",
        "team": "category",
        "price": "number",
    }


def test_a_profile_counts():
    frame = pl.DataFrame(
        {"text": ["好的商品", "very good", None, " "], "label": ["x", "y", "x", None]}
    )
    found = profile(frame, "text", "label")
    assert found.labels == {"x": 2, "y": 1}
    assert found.rows == 4
    assert found.languages == {"zh": 0.5, "en": 0.5}


@pytest.mark.parametrize(
    "text", ["2026-03-31", "2026/03/31", "2026年03月31日", "2026-03-31T00:00:00Z", "20260331"]
)
def test_unambiguous_times_are_read(text):
    (found,) = times_of(pl.Series("t", [text]), ["a.csv, row 1"])
    assert found == datetime.datetime(2026, 3, 31, tzinfo=datetime.UTC).timestamp()


def test_numbers_and_dates_are_times():
    assert times_of(pl.Series("t", [3, 1]), ["", ""]) == (3.0, 1.0)
    assert times_of(pl.Series("t", [datetime.date(1970, 1, 2)]), [""]) == (86400.0,)


@pytest.mark.parametrize("text", ["31/03/2026", "yesterday", "", None])
def test_an_unreadable_time_names_its_row(text):
    with pytest.raises(DataError, match=r"b\.csv, row 2"):
        times_of(pl.Series("t", ["2026-01-01", text]), ["b.csv, row 1", "b.csv, row 2"])
