"""Targets of `tests/fuzz.py`: strategies that make inputs, each with what decides if the outcome is right.

A target is a function of an empty folder; it returns a strategy and a check. The check tries one input and returns a
word for what became of it, which is counted; a wrong outcome is an AssertionError, and any exception that stir should
not have raised passes through.
"""

from __future__ import annotations


class Refused(Exception):
    """Verdict of a reference: the input is wrong, and has to be refused."""


def refused(error: Exception, expected: object, *named: str) -> str:
    """Judge a refusal: it has to be expected, of one line, and name one of `named`."""
    message = str(error)
    assert isinstance(expected, Refused), f"refused, though it means {expected!r}: {message}"
    assert "\n" not in message, f"a message of several lines: {message!r}"
    assert any(name in message for name in named), f"{message!r} names none of {named}"
    message.encode()  # can be printed
    return "refused"
