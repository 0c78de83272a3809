"""Which language a text is in: its script, and for Latin script its commonest words.

Good enough to choose a backbone by; it names a language only where something speaks for it.
"""

import re
from collections import Counter
from collections.abc import Sequence

UNKNOWN = "und"
_SAMPLE = 2_000
_HEAD = 400
_SCRIPTS = {
    "kana": re.compile(r"[\u3041-\u30fa\u30fc-\u30ff\uff66-\uff9f]"),
    "han": re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]"),
    "hangul": re.compile(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]"),
    "cyrillic": re.compile(r"[\u0400-\u04ff]"),
    "arabic": re.compile(r"[\u0600-\u06ff\u0750-\u077f]"),
    "hebrew": re.compile(r"[\u0590-\u05ff]"),
    "greek": re.compile(r"[\u0370-\u03ff]"),
    "thai": re.compile(r"[\u0e00-\u0e7f]"),
    "devanagari": re.compile(r"[\u0900-\u097f]"),
    "bengali": re.compile(r"[\u0980-\u09ff]"),
    "tamil": re.compile(r"[\u0b80-\u0bff]"),
    "latin": re.compile(r"[a-zA-Z\u00c0-\u024f\u1e00-\u1eff]"),
}
_SIMPLE = {
    "hangul": "ko",
    "hebrew": "he",
    "greek": "el",
    "thai": "th",
    "devanagari": "hi",
    "bengali": "bn",
    "tamil": "ta",
}
_WORD = re.compile(r"[^\W\d_]+")
_STOP = {
    "en": "the and is to of it in that this was for you with not are my have be but on as i they at"
    " what how can do does your we me so very would like please when from has had an if or there"
    " just don didn isn good great bad turn set love buy product",
    "fr": "le la les des est et un une pas que qui dans pour ce sur avec je vous il elle nous ne"
    " plus très mais mon ma mes été cette sont du au aux se bien tout fait comment",
    "de": "der die das und ist nicht ich ein eine zu den mit es auf für sie war von dem sich auch"
    " aber wie im so sehr nur noch haben hat wir man einen wird bei oder kann mein",
    "es": "el los las es y en que un una no para con por lo se muy más pero mi está me del al como"
    " este esta fue su todo bien cuando producto he ha sin también",
    "it": "il lo gli è e di che non un una per con sono mi si ma più molto della del le ho questo"
    " questa anche come bene tutto ha nel alla dei",
    "pt": "o os as é e de que não um uma para com em do da mais muito mas eu no na foi meu minha"
    " este esta bem como produto ao dos tem está você também",
    "nl": "de het een en is van niet ik dat in te zijn met voor op maar heel ook aan er wel mijn"
    " naar bij heb deze was goed dit",
    "pl": "nie jest się na to że do jak ale z i bardzo w po co tak czy mi za od był może tylko są",
    "tr": "bir ve bu çok için da de ne ile gibi daha ama var yok değil ben olarak kadar iyi",
    "sv": "och det är att en som inte på jag för med av har ett den till mycket men om var så",
    "id": "yang dan di ini itu tidak untuk dengan saya ada dari ke bisa sangat akan sudah juga",
    "vi": "và là không của tôi có được cho này rất một với những các trong đã người thì",
}
_WORDS = {code: frozenset(words.split()) for code, words in _STOP.items()}
# A letter that few languages write speaks as loudly as a common word.
_LETTERS = {
    "de": "ßäöü",
    "fr": "çœèêëîïûù",
    "es": "ñ¿¡áíóú",
    "pt": "ãõâçê",
    "it": "èìòù",
    "pl": "ąćęłńśźż",
    "tr": "ğışçöü",
    "sv": "åäö",
    "vi": "ăđơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ",
}


def language_of(text: str) -> str:
    """BCP-47 code of a text's main language, or "und" where nothing tells.

    Reads the first 400 characters.
    """
    head = text[:_HEAD]
    counts = {script: len(marks.findall(head)) for script, marks in _SCRIPTS.items()}
    # A Chinese character says as much as a Latin word of about three letters.
    weights = {s: n * (1 if s == "latin" else 3) for s, n in counts.items()}
    main = max(weights, key=weights.__getitem__)
    if not weights[main]:
        return UNKNOWN
    if main in ("han", "kana"):
        return "ja" if counts["kana"] * 8 >= counts["han"] + counts["kana"] else "zh"
    if main == "cyrillic":
        return "uk" if re.search("[іїєґІЇЄҐ]", head) else "ru"
    if main == "arabic":
        return "fa" if re.search("[پچژگ]", head) else "ar"
    return _SIMPLE.get(main) or _latin(head)


def languages(texts: Sequence[str]) -> dict[str, float]:
    """Share of each language, largest first, over an even sample of at most 2,000 texts.

    Texts that tell nothing are shared out among those that do; all "und" if none does.
    """
    step = max(1, -(-len(texts) // _SAMPLE))
    counts = Counter(language_of(text) for text in texts[::step])
    if len(counts) > 1:
        counts.pop(UNKNOWN, None)
    total = counts.total()
    return {code: n / total for code, n in counts.most_common()}


def _latin(text: str) -> str:
    words = _WORD.findall(text.casefold())
    found = frozenset(words)
    scores = {code: 2.0 * sum(w in stop for w in words) for code, stop in _WORDS.items()}
    for code, letters in _LETTERS.items():
        scores[code] += sum(any(letter in word for letter in letters) for word in found)
    best = max(scores, key=scores.__getitem__)
    if scores[best]:
        return best
    # No common word at all: plain ASCII words are most often English, a lone name may be anything.
    return "en" if len(words) >= 3 and text.isascii() else UNKNOWN
