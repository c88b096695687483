"""Text that people read (SPEC §3.4): NFC, no control characters, no bidirectional overrides."""

import re
import unicodedata

from protocol.errors import Malformed, TooLarge

# C0 and C1 controls, line and paragraph separators, the bidirectional embeddings, overrides and isolates that can make
# a line read otherwise than it is stored (Unicode TR36, "Trojan Source"), and surrogates, which UTF-8 cannot hold.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_FORBIDDEN_BUT_LINES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def check(value: str, what: str, chars_max: int, *, lines: bool = False) -> None:
    """Raise Malformed or TooLarge unless ``value`` is text as SPEC §3.4 wants it; ``lines`` admits newline and tab."""
    if len(value) > chars_max:
        raise TooLarge(f"{what} is over {chars_max} characters")
    if (_FORBIDDEN_BUT_LINES if lines else _FORBIDDEN).search(value):
        raise Malformed(f"{what} holds a control character or a bidirectional override")
    if not unicodedata.is_normalized("NFC", value):
        raise Malformed(f"{what} is not in Unicode normalization form C")


def clean(value: str) -> str:
    """What a person typed, in the form that ``check`` accepts; what is forbidden is dropped."""
    return _FORBIDDEN_BUT_LINES.sub("", unicodedata.normalize("NFC", value.replace("\r\n", "\n")))
