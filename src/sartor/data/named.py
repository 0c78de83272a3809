"""What columns are usually called, by the part that they play."""

import re

_NAMES: dict[str, tuple[str, ...]] = {
    "text": ("text", "body", "review", "comment", "content", "message", "sentence", "utterance",
             "description", "question", "title", "prompt", "instruction", "文本", "内容", "评论",
             "正文", "描述", "问题"),
    "label": ("label", "class", "category", "sentiment", "intent", "target", "team", "score", "tag",
              "rating", "topic", "type", "y", "标签", "类别", "分类", "情感", "意图",
              "评分", "分数", "得分", "labels"),
    "reply": ("reply", "response", "answer", "completion", "output", "assistant", "translation",
              "summary", "highlights", "reference", "target", "label",
              "回复", "回答", "答案", "译文", "翻译", "摘要", "总结"),
    "question": ("question", "query", "asked", "问题", "提问"),
    "context": ("context", "passage", "paragraph", "document", "article", "text", "上下文", "段落",
                "原文", "文章"),
    "answers": ("answers", "answer", "label", "答案", "回答"),
    "group": ("group", "user", "customer", "author", "session", "account", "document", "product",
              "patient", "speaker", "conversation", "thread", "learner", "student",
              "member", "visitor", "用户", "客户", "作者", "商品", "学生", "学员"),
    "item": ("item", "exercise", "question", "problem", "task", "题目", "练习", "试题"),
    "skill": ("skill", "topic", "concept", "knowledge", "kc", "unit", "技能", "知识点"),
    "correct": ("correct", "right", "result", "score", "label", "正确", "对错"),
    "time": ("time", "date", "created", "timestamp", "when", "day", "时间", "日期"),
}  # fmt: skip

_SURE: dict[str, frozenset[str]] = {
    "text": frozenset({"text", "content", "review", "sentence", "utterance",
                       "文本", "内容", "评论", "正文"}),
    "label": frozenset({"label", "labels", "标签"}),
}  # fmt: skip
"""Names that say what a column holds whatever stands in it; the others hold other things too."""


def rank_of(name: str, part: str) -> int:
    """Place of a column's name among those usual for a part; how many there are for no such."""
    words = _words(name)
    known = _NAMES[part]
    return next((i for i, word in enumerate(known) if word in words or word == name), len(known))


def is_named(name: str, part: str) -> bool:
    """Whether a column is called as such a part usually is."""
    return rank_of(name, part) < len(_NAMES[part])


def is_whole(name: str, part: str) -> bool:
    """Whether a column is called by one of the part's usual names, with nothing added."""
    return name.strip().casefold() in _NAMES[part]


def is_sure(name: str, part: str) -> bool:
    """Whether a column's name alone makes it the text or the label, whatever its values are."""
    return name.strip().casefold() in _SURE[part]


def _words(name: str) -> set[str]:
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    return set(re.split(r"[\W_\d]+", spaced.casefold())) | {
        w for names in _NAMES.values() for w in names if not w.isascii() and w in name
    }  # fmt: skip
