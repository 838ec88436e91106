"""YAML 1.2's core schema written by hand, and texts whose values are known."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from yaml import SafeLoader, YAMLError, events, parse

from helpers.fuzzing import Refused

TAG = "tag:yaml.org,2002:"
WORDS = {
    **dict.fromkeys(("~", "null", "Null", "NULL", ""), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
INFINITE = {f"{sign}.{word}": value for sign, value in (("", math.inf), ("+", math.inf), ("-", -math.inf))
            for word in ("inf", "Inf", "INF")}  # fmt: skip
NOT_NUMBERS = (".nan", ".NaN", ".NAN")


def plain(text: str) -> Any:
    """The value of an unquoted scalar, by the table in section 10.3.2 of YAML 1.2.2."""
    if text in WORDS:
        return WORDS[text]
    if text in INFINITE:
        return INFINITE[text]
    if text in NOT_NUMBERS:
        return math.nan
    for base, prefix, digits in ((8, "0o", "01234567"), (16, "0x", "0123456789abcdefABCDEF")):
        rest = text.removeprefix(prefix)
        if rest and rest != text and all(each in digits for each in rest):
            value = 0
            for digit in rest.lower():
                value = value * base + "0123456789abcdef".index(digit)
            return _short(value, text)
    unsigned = text[1:] if text[:1] in ("+", "-") else text
    if unsigned and all(each in "0123456789" for each in unsigned):
        return _short(-int(unsigned[:4_300]) if text[0] == "-" else int(unsigned[:4_300]), text)
    mantissa, _, exponent = unsigned.replace("E", "e").partition("e")
    whole, _, fraction = mantissa.partition(".")
    exponent_digits = exponent[1:] if exponent[:1] in ("+", "-") else exponent
    digits_only = all(each in "0123456789" for each in whole + fraction + exponent_digits)
    if digits_only and whole + fraction and bool(exponent_digits) == ("e" in unsigned.lower()):
        value = _float(text)
        if math.isinf(value):
            raise Refused("beyond the range of floats")
        return value
    return text


def _float(text: str) -> float:
    try:
        return float(Decimal(text))
    except ArithmeticError:  # an exponent of more than 18 digits
        return float(text)


def _short(value: int, text: str) -> int:
    if len(text) > 300:
        raise Refused("more digits than a float has room for")
    return value


def tagged(tag: str, text: str) -> Any:
    """The value of a scalar with a tag; without the tag `!`, which PyYAML does not read as YAML does."""
    if tag == f"{TAG}str":
        return text
    value = plain(text)
    if tag == f"{TAG}float" and isinstance(value, int) and not isinstance(value, bool) and text[:2] not in ("0o", "0x"):
        return float(value)
    kinds = {"null": type(None), "bool": bool, "int": int, "float": float}
    if type(value) is not kinds.get(tag.removeprefix(TAG)):
        raise Refused(f"{text!r} is no {tag}")
    return value


def read(text: str) -> Any:
    """The value of a document, from PyYAML's stream of events alone.

    Raises:
        Refused: it is no YAML, holds a tag that is unknown, an alias, a key twice or one that is a collection.
    """
    try:
        stream = [*parse(text, Loader=SafeLoader)]
    except (YAMLError, RecursionError, ValueError) as error:
        raise Refused(str(error)) from error
    if sum(isinstance(each, events.DocumentStartEvent) for each in stream) > 1:
        raise Refused("several documents")
    nodes = [each for each in stream if isinstance(each, (events.NodeEvent, events.CollectionEndEvent))]
    return text_with_pairs(_value(iter(nodes))) if nodes else None


def _value(stream: Any) -> Any:
    event = next(stream)
    if isinstance(event, events.CollectionEndEvent):
        return event
    if isinstance(event, events.AliasEvent):
        raise Refused("an alias")
    if isinstance(event, events.ScalarEvent):
        if event.tag is not None:
            return tagged(event.tag, event.value)
        return plain(event.value) if event.implicit[0] else event.value
    is_list = isinstance(event, events.SequenceStartEvent)
    if event.tag not in (None, f"{TAG}{'seq' if is_list else 'map'}"):
        raise Refused(f"the tag {event.tag}")
    parts = []
    while not isinstance(part := _value(stream), events.CollectionEndEvent):
        parts.append(part)
    if is_list:
        return parts
    keys, mapping = parts[::2], {}
    for key, value in zip(keys, parts[1::2], strict=True):
        if isinstance(key, (list, dict)) or key in mapping:
            raise Refused("a key twice, or one that is a collection")
        mapping[key] = value
    return mapping


def text_with_pairs(value: Any) -> Any:
    """Join surrogates that JSON's escapes write as pairs.

    Raises:
        Refused: a text holds half of a pair.
    """
    if isinstance(value, list):
        return [text_with_pairs(each) for each in value]
    if isinstance(value, dict):
        return {text_with_pairs(key): text_with_pairs(each) for key, each in value.items()}
    if not isinstance(value, str):
        return value
    pairs = re.compile("([\ud800-\udbff])([\udc00-\udfff])")
    joined = pairs.sub(lambda m: chr(0x10000 + (ord(m[1]) - 0xD800) * 0x400 + ord(m[2]) - 0xDC00), value)
    if re.search("[\ud800-\udfff]", joined):
        raise Refused("half of a surrogate pair")
    return joined


def same(first: Any, second: Any) -> bool:
    """Equal, with equal types throughout; NaN is NaN, and 0.0 is not -0.0."""
    return repr(first) == repr(second)


# Texts and their values, written together


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _escaped(text: str) -> str:
    parts = [each if each.isascii() and each.isalnum() else f"\\U{ord(each):08x}" for each in text]
    return '"' + "".join(parts) + '"'


TEXT = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=8)
# YAML 1.1 makes numbers, booleans, dates and merges of these.
OLD_WORDS = st.sampled_from(
    ["yes", "No", "on", "OFF", "y", "n", "1:30", "1_000", "2001-01-01", "0b11", "=", "<<", "nan", "inf", "1e", "0o8",
     "0x", "-0x1", "+.nan", "tRUE", "nULL", "1.5.2", "e5", ".", "+", "-.e1"]
)  # fmt: skip
DIGITS = st.text("0123456789", min_size=1, max_size=6)
SIGN = st.sampled_from(["", "+", "-"])
INTEGER_TEXTS = st.one_of(
    st.builds("{}{}".format, SIGN, DIGITS),
    st.builds("0o{}".format, st.text("01234567", min_size=1, max_size=5)),
    st.builds("0x{}".format, st.text("0123456789abcdefABCDEF", min_size=1, max_size=5)),
)
FLOAT_TEXTS = st.one_of(
    st.builds("{}{}.{}".format, SIGN, DIGITS, st.just("") | DIGITS),
    st.builds("{}.{}".format, SIGN, DIGITS),
    st.builds("{}{}{}{}{:.3}".format, SIGN, DIGITS, st.sampled_from("eE"), SIGN, DIGITS),
    st.sampled_from([*INFINITE, *NOT_NUMBERS]),
)
NUMBERS = INTEGER_TEXTS | FLOAT_TEXTS


def _with_value(text: str) -> tuple[str, Any]:
    try:
        return text, plain(text)
    except Refused as verdict:
        return text, verdict


INTEGERS, FLOATS = INTEGER_TEXTS.map(_with_value), FLOAT_TEXTS.map(_with_value)
BOOLEANS = st.sampled_from(["true", "True", "TRUE", "false", "False", "FALSE"]).map(_with_value)
UNQUOTED = (NUMBERS | OLD_WORDS | st.sampled_from([word for word in WORDS if word])).map(_with_value)
QUOTED = TEXT.map(lambda text: (_quoted(text), text)) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=6
).map(lambda text: (_escaped(text), text))
SCALARS = UNQUOTED | QUOTED


@st.composite
def known_texts(draw: st.DrawFn, depth: int = 2) -> tuple[str, Any]:
    """Text and value; the value is a `Refused` where the text has to be refused."""
    if depth == 0 or draw(st.integers(0, 2)) == 0:
        return draw(SCALARS)
    parts = draw(st.lists(known_texts(depth=depth - 1), max_size=3))
    verdict = next((value for _, value in parts if isinstance(value, Refused)), None)
    space = draw(st.sampled_from(["", " ", "  "]))
    if draw(st.booleans()):
        keys = draw(st.lists(st.text("abcdef", min_size=1, max_size=3), min_size=len(parts), max_size=len(parts)))
        if len({*keys}) < len(keys):
            verdict = Refused("a key twice")
        text = "{" + ",".join(f"{space}k{key}: {part}{space}" for key, (part, _) in zip(keys, parts, strict=True)) + "}"
        return text, verdict or {f"k{key}": value for key, (_, value) in zip(keys, parts, strict=True)}
    text = "[" + ",".join(f"{space}{part}{space}" for part, _ in parts) + "]"
    return text, verdict or [value for _, value in parts]


PIECES = st.sampled_from(
    ["[", "]", "{", "}", ": ", ",", "- ", "\n", " ", "\t", "#", " # ", "'", '"', "&a ", "*a", "!!int ", "!!float ",
     "!!str ", "!!null ", "!!bool ", "!!seq ", "!!map ", "!!set ", "!!merge ", "!!value ", "!!binary ", "! ", "!own ",
     "!<tag:yaml.org,2002:int> ", "|\n ", ">\n ", "?", "? ", "---\n", "...\n", "%YAML 1.1\n", "\\", "\\ud83d\\ude00",
     "\\ud83d", "\\x00", "\\n", "\ufeff", "\x85", "\u2028", "\r", "<<: ", "=", "0x" + "f" * 4_000, "9" * 4_400,
     "1e400", "folder:", "~", "folder:~nobody", "folder:\\x00", "null"]
)  # fmt: skip
# Texts that may be anything: pieces of YAML, numbers and words in any order.
ANY_TEXT = st.one_of(
    st.lists(PIECES | NUMBERS | OLD_WORDS | st.text("abcx01.:-+_'\"[]{}, ", max_size=4), max_size=7).map("".join),
    st.text(max_size=12),
)
