"""Names and numbers that stand for things (SPEC §4): nations, agencies, feeds, origins, bulletin ids."""

import functools
import re
import uuid

from protocol import limits
from protocol.errors import Malformed

ID_BYTES = 16
_NATION = re.compile(r"[A-Z]{2}")
_ALPHA3 = re.compile(r"[A-Z]{3}")
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_COMPARTMENT = re.compile(r"[A-Z][A-Z0-9]*(-[A-Z0-9]+)*")
_CAVEAT = re.compile(r"[A-Z][A-Z0-9]*([ -][A-Z0-9]+)*")
_ORIGIN = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*(:[0-9]{1,5})?(/[a-z0-9]+([._-][a-z0-9]+)*)*")


@functools.lru_cache(maxsize=4096)  # the same few names come in every header
def _grammar(value: str, pattern: re.Pattern[str], what: str, chars_max: int = limits.NAME_CHARS_MAX) -> str:
    if len(value) > chars_max or not pattern.fullmatch(value):
        raise Malformed(f"{value[:chars_max]!r} is not {what}")
    return value


def nation(value: str) -> str:
    """An ISO 3166-1 alpha-2 code."""
    return _grammar(value, _NATION, "a nation: two capital letters, as in PK")


def alpha3(value: str) -> str:
    """An ISO 3166-1 alpha-3 code, as labels print it."""
    return _grammar(value, _ALPHA3, "a nation's code: three capital letters, as in PAK")


def agency(value: str) -> str:
    """An agency id: lower-case words joined by hyphens."""
    return _grammar(value, _NAME, "an agency id: lower-case letters, digits and single hyphens")


def feed(value: str) -> str:
    """A feed's name, by the same grammar as an agency id."""
    return _grammar(value, _NAME, "a feed's name: lower-case letters, digits and single hyphens")


def compartment(value: str) -> str:
    """A compartment of the exchange."""
    return _grammar(value, _COMPARTMENT, "a compartment: capital letters, digits and single hyphens")


def caveat(value: str) -> str:
    """An informative caveat of a label."""
    return _grammar(value, _CAVEAT, "a caveat: capital letters, digits, single spaces and hyphens")


def origin(value: str) -> str:
    """A ledger's origin: a schema-less URL in lower case (C2SP tlog-checkpoint)."""
    return _grammar(value, _ORIGIN, "an origin: a URL without scheme, in lower case", limits.ORIGIN_CHARS_MAX)


def bulletin_id(value: bytes) -> bytes:
    """A UUIDv7 (RFC 9562 §5.7), as its 16 bytes."""
    if len(value) != ID_BYTES or value[6] >> 4 != 7 or value[8] >> 6 != 2:  # noqa: PLR2004 - version and variant
        raise Malformed("not a UUIDv7")
    return value


def new_bulletin_id(time_ms: int, random: bytes) -> bytes:
    """A UUIDv7 of ``time_ms`` and ten random bytes: ids in order of time keep the index of a node flat."""
    head = time_ms.to_bytes(6, "big")
    return head + bytes([0x70 | random[0] & 0x0F, random[1], 0x80 | random[2] & 0x3F]) + random[3:10]


def format_id(sender: str, value: bytes) -> str:
    """``SENDER/UUID``: how an id stands outside a header."""
    return f"{sender}/{uuid.UUID(bytes=value)}"


def parse_id(value: str) -> tuple[str, bytes]:
    """Sender and id of ``SENDER/UUID``, in the one form that ``format_id`` prints."""
    sender, _, rest = value.partition("/")
    try:
        number = uuid.UUID(rest).bytes
    except ValueError:
        raise Malformed(f"{value[:100]!r} is not SENDER/UUID") from None
    if format_id(agency(sender), bulletin_id(number)) != value:
        raise Malformed(f"{value[:100]!r} is not SENDER/UUID in lower case")
    return sender, number
