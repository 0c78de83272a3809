"""The need: task, data, acceptance criteria, budget, preferences and costs."""

from math import isfinite
from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
)

from sartor.core.addresses import checked_url
from sartor.core.hashing import digest
from sartor.need.costs import Costs
from sartor.need.criterion import Criterion
from sartor.need.parts import Part


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _by_column(value: object) -> object:
    """A list of columns, some as `name: kind`, as the mapping that it stands for."""
    if not isinstance(value, list):
        return value
    found: dict[object, object] = {}
    for entry in cast("list[object]", value):
        pairs = cast("dict[object, object]", entry) if isinstance(entry, dict) else {entry: "auto"}
        for name, kind in pairs.items():
            if name in found:
                raise ValueError(f"the column {name!r} is listed twice")
            found[name] = kind
    return found


def _fits_a_file_name(name: str) -> str:
    if len(name.encode()) > 150:
        raise ValueError("longer than 150 bytes, too long for the name of the bundle's folder")
    return name


def _from_and_to(found: dict[str, str]) -> dict[str, str]:
    if missing := [side for side in ("from", "to") if side not in found]:
        raise ValueError(f"{missing[0]!r} is missing: name both languages, from and to")
    return found


Sources = Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1, max_length=1000)]
Descriptions = Annotated[
    dict[str, Annotated[str, Field(min_length=1, max_length=2000)]], Field(max_length=1000)
]
ColumnKinds = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=200)],
        Literal["auto", "number", "category", "date"],
    ],
    BeforeValidator(_by_column),
    Field(min_length=1, max_length=1000),
]
Languages = Annotated[
    dict[
        Literal["from", "to"], Annotated[str, Field(pattern=r"^[A-Za-z]{2,8}([_-][A-Za-z]{2,8})?$")]
    ],
    AfterValidator(_from_and_to),
]
_STRICT = ConfigDict(
    extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
)


NO_KEYS = ("roles", "skills")
"""Fields of `Data` that are no keys of a need file: what is in them stands elsewhere."""


class Data(BaseModel):
    """Where the examples are and which columns play which role."""

    model_config = _STRICT

    train: Sources
    """File, folder or `hub:` id, relative to the need file; or a list of them."""
    test: Sources | None = None
    """Official test rows; without it a test set is split off and kept."""
    validation: Sources | None = None
    """Official validation rows."""
    unlabelled: Sources | None = None
    """Texts without labels, in the column of the text: smaller models learn from them what the
    whole model answers, and `prefer.pretrain` may read them."""
    documents: Sources | None = None
    """What retrieval finds its answers among, or the items of recommendation and mastery: files
    with the columns id and text, and title where there is one; of mastery also skill. Without it
    the column of the label holds the documents of retrieval themselves."""
    roles: dict[str, str] = Field(default_factory=dict[str, str])
    """Role of the task (text, label, …) to column; written directly under `data:`."""
    languages: Languages | None = None
    """Of translation, what is translated from and to, as the model's own codes say it (zh, zh_CN,
    zho_Hans); for models of many languages, which must be told."""
    columns: ColumnKinds | None = None
    """Columns that a task with columns reads: a list of names, or a mapping to what each holds,
    number, category or date; auto finds it out."""
    labels: list[str] | None = None
    """The labels there are; a row with another one is an error."""
    label_descriptions: Descriptions = Field(default_factory=dict[str, str])
    """What labels mean, in words: label to a sentence. Read before any label is learnt from."""
    skills: dict[str, str] = Field(default_factory=dict[str, str], exclude=True)
    """Item to its skill, as `documents` name it; filled when they are read."""
    baseline: str | None = None
    """Column with the answer that is in use today; of recommendation also `most_chosen`, which is
    made of the rows."""
    group: str | None = None
    """Rows of one group (customer, document) never fall on both sides of a split."""
    time: str | None = None
    """Column to split by time: the newest rows become the test set."""
    id: str | None = None
    """Column that names a row in reports."""
    feedback: bool = False
    """Learn from the corrections that users of the served model sent."""
    near_duplicates: bool = True
    """Drop rows that nearly repeat another one."""


class Llm(BaseModel):
    """A language model behind a URL that answers as OpenAI's chat completions do."""

    model_config = _STRICT

    url: Annotated[str, Field(max_length=500), AfterValidator(checked_url)]
    """Up to `/v1`, e.g. http://localhost:11434/v1; texts are sent there."""
    model: str = Field(min_length=1, max_length=200)
    """Its name at that URL."""
    key: str | None = Field(default=None, pattern=r"^[A-Z_][A-Z0-9_]{0,99}$")
    """Name of the environment variable that holds the key, in capitals; never the key itself."""
    examples: int = Field(default=8, ge=0, le=64)
    """Labelled training texts that each question shows."""

    @property
    def allowance(self) -> str:
        """What allows a bundle to ask it: the URL, and the key's variable where it has one."""
        return f"{self.url}={self.key}" if self.key else self.url


class LocalLlm(BaseModel):
    """A language model that answers in this process; nothing is sent anywhere."""

    model_config = _STRICT

    local: str = Field(min_length=1, max_length=500)
    """Starter name, hub id or folder of a chat model, e.g. smollm2."""
    examples: int = Field(default=8, ge=0, le=64)
    """Labelled training texts that stand in the prompt."""


class Judge(BaseModel):
    """A language model behind a URL that is asked what it thinks of replies."""

    model_config = _STRICT

    url: Annotated[str, Field(max_length=500), AfterValidator(checked_url)]
    """Up to `/v1`, e.g. http://localhost:11434/v1; texts and replies are sent there."""
    model: str = Field(min_length=1, max_length=200)
    """Its name at that URL."""
    key: str | None = Field(default=None, pattern=r"^[A-Z_][A-Z0-9_]{0,99}$")
    """Name of the environment variable that holds the key, in capitals; never the key itself."""
    rubric: str = Field(default="", max_length=4000)
    """What a good reply is like, in your words."""


def _as_local(value: object) -> object:
    return {"local": value} if isinstance(value, str) else value


def _llm_kind(value: object) -> str:
    local = isinstance(value, LocalLlm) or (isinstance(value, dict) and "local" in value)
    return LOCAL if local else REMOTE


REMOTE, LOCAL = "llm behind a url", "llm on this machine"
"""Of the two that `prefer.llm` may be; pydantic puts them into the place of a fault."""
AnyLlm = Annotated[
    Annotated[Llm, Tag(REMOTE)] | Annotated[LocalLlm, Tag(LOCAL)],
    Discriminator(_llm_kind),
    BeforeValidator(_as_local),
]


class Budget(BaseModel):
    """What a run may spend."""

    model_config = _STRICT

    minutes: float | None = Field(default=None, gt=0)
    """Wall time; the search stops climbing when it would be exceeded."""
    memory_gb: float | None = Field(default=None, gt=0)
    """Peak memory; a rung predicted to need more is not tried."""
    money_per_hour: float | None = Field(default=None, ge=0)
    """Price of this machine, to show what a run costs."""
    requests: int | None = Field(default=None, ge=0)
    """Texts that a run may ask a language model about; a rung that would ask more is not tried."""
    patience: int = Field(default=10, ge=1)
    """Trials of a rung without a gain that validation rows can tell, after which the search leaves
    it."""


def _plain_settings(settings: dict[str, Any]) -> dict[str, Any]:
    for key, value in settings.items():
        own = cast("dict[str, Any]", value if isinstance(value, dict) else {key: value})
        for name, held in own.items():
            listed = cast("list[Any]", held if isinstance(held, list) else [held])
            if not all(each is None or isinstance(each, str | int | float) for each in listed):
                where = name if own is not value else f"{key}.{name}"
                raise ValueError(f"{where} holds neither a value nor a list of values")
            if not all(isfinite(each) for each in listed if isinstance(each, float)):
                raise ValueError(f"{name} is no finite number")
    return settings


class Preferences(BaseModel):
    """What the user would rather have."""

    model_config = _STRICT

    backbones: list[str] | None = None
    """Starter names, hub ids or folders, `@N` for the first N layers; tried in the order that their
    ranking on the rows suggests. Default: chosen by language."""
    licences: list[str] | None = None
    """SPDX ids that a backbone may have, e.g. [MIT, Apache-2.0]."""
    methods: list[str] | None = None
    """Tuning methods to climb, in order; default: all, cheapest first. `earlier` stands for the
    bundles there are."""
    settings: Annotated[dict[str, Any], Field(max_length=100), AfterValidator(_plain_settings)] = {}
    """Settings in the place of those that methods are tried with: for all that know one, and under
    a method's name for that one alone."""
    compressors: list[str] | None = None
    """What makes the model smaller or faster, by name: all of these are tried, and no others.
    Default: those that ease what the criteria ask for."""
    bundles: Annotated[list[str], Field(max_length=20)] | None = None
    """Folders of bundles to try before anything is trained, relative to the need file. Default: the
    newest of the workspace that fit; [] for none."""
    ensemble: bool = True
    """Whether candidates may be joined into one model where none reaches the need alone."""
    pretrain: str = "none"
    """What the backbone learns from unlabelled texts before it is tuned: mlm, simcse or none."""
    max_length: int = Field(default=256, ge=16, le=32_768)
    """Tokens of a text that are read, special ones included, in training and by the served model;
    fewer where the backbone takes fewer."""
    long_texts: Literal["cut", "windows"] = "cut"
    """What the served model does with a text longer than it takes: reads its start, or all of it in
    overlapping windows, whose logits are averaged."""
    llm: AnyLlm | None = None
    """A language model to ask, before anything is trained: the rung `prompted`. A name alone is
    that of one on this machine."""

    @property
    def llm_url(self) -> Llm | None:
        """The language model, where it lies behind a URL."""
        return self.llm if isinstance(self.llm, Llm) else None


class Need(BaseModel):
    """What the model must do, on which data, and the numbers it must reach."""

    model_config = _STRICT

    name: Annotated[
        str,
        Field(min_length=1, max_length=100, pattern=r"^[\w]([\w .-]*[\w])?$"),
        AfterValidator(_fits_a_file_name),
    ]
    task: str
    data: Data
    accept: list[Criterion] = Field(min_length=1, max_length=200)
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    """Of every interval."""
    budget: Budget = Budget()
    prefer: Preferences = Preferences()
    costs: Costs | None = None
    judge: Judge | None = None
    """Of replies: whom `win_rate` and `rubric_rate` ask."""
    parts: dict[str, Part] | None = None
    """Of a product: the bundles that answer, by name, the first of which reads every row."""
    hand_off_below: Literal["auto"] | Annotated[float, Field(ge=0, le=1)] = "auto"
    """Of a product: confidence below which a person answers; auto chooses it on validation rows."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seeds everything random; recorded in the bundle."""
    language: Literal["en", "zh"] = "en"
    """Of the report."""

    def as_mapping(self) -> dict[str, Any]:
        """The mapping that a need file would hold: roles beside the other keys of `data`."""
        plain = self.model_dump(mode="json", exclude_defaults=True, exclude={"accept"})
        data = plain["data"]
        data |= data.pop("roles", {})
        return {**plain, "accept": [criterion.text for criterion in self.accept]}

    def fingerprint(self) -> str:
        """Content hash of everything but the line numbers."""
        plain = self.model_dump(mode="json")
        for criterion in plain["accept"]:
            criterion.pop("line")
        return digest(plain)
