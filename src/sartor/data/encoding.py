"""Which encoding a text file is in, and whether it is text at all.

UTF-8 (with or without mark), UTF-16 and GB18030 are told apart by what only they allow; anything
else is refused with its likely name, since a wrong guess would train on mojibake.
"""

import codecs
from collections.abc import Iterator
from pathlib import Path

from charset_normalizer import from_bytes

from sartor.core.errors import DataError
from sartor.data.api import Limits

_CHUNK = 1 << 20
_SAMPLE = 1 << 18
_CONTROL = bytes(b for b in range(32) if b not in b"\t\n\x0c\r\x1b")
_MAGIC = (
    (b"PK\x03\x04", "a zip or xlsx file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"PAR1", "a parquet file"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF", "a PDF"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x7fELF", "a program"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file"),
    (b"BZh", "a bzip2 file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
)
# The most frequent characters of modern Chinese: about a fifth of any running text. Korean or
# Japanese bytes read as GB18030 give legal but rare characters instead.
_FREQUENT = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里"
    "用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实"
    "很吃店服务质量快慢差客退款订单物流东西买卖问题书房间"
)


def size_of(path: Path, limits: Limits) -> int:
    """Bytes of a file that may be read.

    Raises:
        DataError: If it is absent, a folder, empty or larger than the limit.
    """
    if not path.exists():
        beside = sorted(p.name for p in path.parent.glob("*"))[:8] if path.parent.is_dir() else []
        raise DataError(
            f"{path}: no such file.",
            fix=f"check the path; beside it lie {', '.join(beside)}."
            if beside
            else "check the path.",
        )
    if not path.is_file():
        raise DataError(f"{path} is not a file.", fix="name a file inside it.")
    size = path.stat().st_size
    if not size:
        raise DataError(f"{path} is empty (0 bytes).", fix="export it again, or name another file.")
    if size > limits.file_bytes:
        raise DataError(
            f"{path} has {size:,} bytes; the limit is {limits.file_bytes:,}.",
            fix="split it, convert it to parquet, or pass a sample.",
        )
    return size


def encoding_of(path: Path, limits: Limits) -> str:
    """Name of the codec that reads the whole file strictly.

    Reads the file once, in pieces.

    Raises:
        DataError: If the file is absent, empty, too large, binary, in an unknown or broken
            encoding (with line and byte), or has a line longer than the limit.
    """
    size_of(path, limits)
    with path.open("rb") as file:
        head = file.read(_SAMPLE)
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            raise DataError(
                f"{path} is {kind}, not text.", fix="give it its own ending, or export it as csv."
            )
    found = _wide(head)
    if not found:
        if _binary(head):
            raise DataError(f"{path} is binary, not text.", fix="export it as csv or json lines.")
        found = "utf-8-sig" if head.startswith(codecs.BOM_UTF8) else "utf-8"
    fault = _walk(path, found, limits)
    if fault is None:
        return found
    if found == "utf-8" and _chinese(fault.near) and _walk(path, "gb18030", limits) is None:
        return "gb18030"
    raise DataError(
        f"{path}, line {fault.line:,}: byte 0x{fault.byte:02x} at offset {fault.offset:,} is not"
        f" {found.removesuffix('-sig')}{', the file may be cut off' if fault.last else ''}.",
        fix=_convert(path, fault.near),
    )


class _Fault:
    """The first byte that the codec refuses."""

    __slots__ = ("byte", "last", "line", "near", "offset")

    def __init__(self, line: int, offset: int, byte: int, last: bool, near: bytes) -> None:
        self.line, self.offset, self.byte, self.last, self.near = line, offset, byte, last, near


def _walk(path: Path, encoding: str, limits: Limits) -> _Fault | None:
    """Decode the file in pieces, and measure its lines on the way."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    line, length, offset = 1, 0, 0
    for piece, last in _pieces(path):
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(piece, last)
        except UnicodeDecodeError as error:
            at = max(0, error.start - pending)
            start = max(0, at - 64)
            near = piece[start : start + _SAMPLE]
            lines = line + piece[:at].count(b"\n")
            byte = error.object[error.start]
            return _Fault(lines, offset + at, byte, last and error.end >= len(error.object), near)
        offset += len(piece)
        head, *rest = text.replace("\r", "\n").split("\n")
        # Characters, times two, bound the bytes closely enough for a limit of megabytes.
        longest = max([length + len(head), *(len(r) for r in rest)])
        if longest > limits.line_bytes:
            raise DataError(
                f"{path}, line {line:,} is longer than {limits.line_bytes:,} characters.",
                fix="check that the file has line ends and that every quote is closed.",
            )
        length = len(rest[-1]) if rest else length + len(head)
        line += text.count("\n")
    return None


def _pieces(path: Path) -> Iterator[tuple[bytes, bool]]:
    left = path.stat().st_size
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            left -= len(piece)
            yield piece, left <= 0


def _wide(head: bytes) -> str:
    """UTF-16 or UTF-32, by mark or by where the zero bytes fall; empty if neither."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if head.count(0) < len(head) // 4 and _is_utf8(head):
        # UTF-16 that is half ASCII has more zero bytes than this, and the rest is no UTF-8.
        return ""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if even + odd < max(2, len(head) // 100):
        return ""
    codec = "utf-16-le" if odd > 4 * even else "utf-16-be" if even > 4 * odd else ""
    if not codec:
        return ""
    try:
        text = head[: len(head) // 2 * 2].decode(codec)
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return ""
        text = head[: error.start].decode(codec)
    readable = sum(c.isprintable() or c.isspace() for c in text)
    return codec if readable >= 0.99 * len(text) else ""


def _is_utf8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")("strict").decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _binary(head: bytes) -> bool:
    """Whether more than 2 % of the bytes are control characters that no text holds."""
    control = len(head) - len(head.translate(None, _CONTROL))
    return control > max(8, len(head) // 50)


def _chinese(sample: bytes) -> bool:
    """Whether bytes that are not UTF-8 read as running Chinese in GB18030.

    The sample may begin within a character: both alignments are tried.
    """
    for cut in (0, 1):
        text = codecs.getincrementaldecoder("gb18030")("replace").decode(sample[cut:])
        foreign = [c for c in text if not c.isascii()]
        han = [c for c in foreign if "\u4e00" <= c <= "\u9fff"]
        signs = sum("\u3000" <= c <= "\u303f" or "\uff00" <= c <= "\uffef" for c in foreign)
        frequent = sum(c in _FREQUENT for c in han)
        if len(han) + signs >= 0.9 * len(foreign) and frequent >= 0.2 * max(1, len(han)):
            return True
    return False


def _convert(path: Path, near: bytes) -> str:
    guess = from_bytes(near).best()
    name = guess.encoding if guess and guess.encoding not in ("utf_8", "ascii") else ""
    seems = f"it may be {name}: " if name else ""
    command = (
        f"iconv -f {name.replace('_', '-') or 'ENCODING'} -t utf-8 {path.name} > utf8_{path.name}"
    )
    return f"{seems}save it as UTF-8, e.g. `{command}`."
