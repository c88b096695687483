"""Who must have signed a checkpoint (SPEC §9; C2SP tlog-policy): a text of logs, witnesses, groups and one quorum.

    log <vkey> https://pk.example.org
    witness cn <vkey>
    group both all cn other
    quorum both

A name is defined before it is used and is a member of one group at most, so that no witness counts twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from protocol import limits
from protocol.errors import Malformed, ProtocolError, TooLarge
from protocol.note import COSIGNATURE_ED25519, COSIGNATURE_MLDSA44, ED25519, NAME_BYTES_MAX, VerifierKey
from protocol.record import Record

NONE = "none"
POLICY_CHARS_MAX = 1024 * 1024
_FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_BLANK = re.compile("[ \t]+")
_LOG_TYPES = {ED25519, COSIGNATURE_MLDSA44}
_WITNESS_TYPES = {COSIGNATURE_ED25519, COSIGNATURE_MLDSA44}


class Log(Record):
    """A key of a log; a log that signs with two keys has two lines."""

    key: VerifierKey
    url: str | None = None

    def encode(self) -> str:
        """The line."""
        return " ".join(["log", self.key.encode(), *_given(self.url)])


class Witness(Record):
    """A key of a witness, under the name that groups and the quorum use."""

    name: str
    key: VerifierKey
    url: str | None = None

    def encode(self) -> str:
        """The line."""
        return " ".join(["witness", self.name, self.key.encode(), *_given(self.url)])


class Group(Record):
    """A group has witnessed what at least ``threshold`` of its members have."""

    name: str
    threshold: int
    members: tuple[str, ...]

    def encode(self) -> str:
        """The line, its threshold as a number."""
        return " ".join(["group", self.name, str(self.threshold), *self.members])


class Policy(Record):
    """Logs to accept, and the quorum of witnesses. ``parse`` makes one that holds together."""

    logs: tuple[Log, ...] = ()
    items: tuple[Witness | Group, ...] = ()  # each group after its members
    quorum: str = NONE

    def log_keys(self, origin: str) -> list[VerifierKey]:
        """The keys of the log at ``origin``; none if the policy does not know it."""
        return [log.key for log in self.logs if log.key.name == origin]

    def witness_keys(self) -> list[VerifierKey]:
        """The keys whose cosignatures can count."""
        return [item.key for item in self.items if isinstance(item, Witness)]

    def satisfied_by(self, cosigners: Collection[VerifierKey]) -> bool:
        """Whether these keys, whose cosignatures have all been verified, are the quorum or more."""
        reached = {NONE}
        for item in self.items:
            if isinstance(item, Witness):
                holds = item.key in cosigners
            else:
                holds = sum(member in reached for member in item.members) >= item.threshold
            if holds:
                reached.add(item.name)
        return self.quorum in reached

    def encode(self) -> str:
        """The policy as text, without the comments that ``parse`` passed over."""
        lines = [*(log.encode() for log in self.logs), *(item.encode() for item in self.items)]
        return "".join(f"{line}\n" for line in [*lines, f"quorum {self.quorum}"])

    @classmethod
    def parse(cls, text: str) -> Policy:
        """The policy of a text. Raises Malformed or TooLarge, with the number of the line that is wrong."""
        if len(text) > POLICY_CHARS_MAX:
            raise TooLarge(f"a policy of more than {POLICY_CHARS_MAX} characters")
        if not text.endswith("\n"):
            raise Malformed("a policy does not end in a newline")
        reader = _Reader()
        for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
            try:
                reader.read(line)
            except ProtocolError as error:
                raise type(error)(f"line {number}: {error.detail}") from error
        if reader.quorum is None:
            raise Malformed("a policy without a quorum line")
        return cls(tuple(reader.logs), tuple(reader.names.values()), reader.quorum)


class _Reader:
    """What the lines read so far have defined."""

    def __init__(self) -> None:
        self.logs: list[Log] = []
        self.names: dict[str, Witness | Group] = {}
        self.quorum: str | None = None
        self._members: set[str] = set()
        self._kinds: dict[str, Callable[[list[str]], None]] = {
            "log": self._log,
            "witness": self._witness,
            "group": self._group,
            "quorum": self._quorum,
        }

    def read(self, line: str) -> None:
        if _FORBIDDEN.search(line):
            raise Malformed("a control character, or one that UTF-8 cannot hold")
        kind, *words = _BLANK.split(line.strip(" \t"))
        if not kind or kind.startswith("#"):
            return
        if kind not in self._kinds:
            raise Malformed("it begins with none of log, witness, group and quorum")
        self._kinds[kind](words)

    def _log(self, words: list[str]) -> None:
        if len(words) not in {1, 2}:
            raise Malformed("not 'log VKEY [URL]'")
        log = Log(_key(words[0], _LOG_TYPES), *words[1:])
        if log.key.public in {other.key.public for other in self.logs}:
            raise Malformed("the key of another log line")
        if len(self.logs) == limits.POLICY_NAMES_MAX:
            raise TooLarge(f"more than {limits.POLICY_NAMES_MAX} log lines")
        self.logs.append(log)

    def _witness(self, words: list[str]) -> None:
        if len(words) not in {2, 3}:
            raise Malformed("not 'witness NAME VKEY [URL]'")
        witness = Witness(words[0], _key(words[1], _WITNESS_TYPES), *words[2:])
        others = [item.key.public for item in self.names.values() if isinstance(item, Witness)]
        if witness.key.public in others:
            raise Malformed("the key of another witness line")
        self._define(words[0], witness)

    def _group(self, words: list[str]) -> None:
        if len(words) < 3:  # noqa: PLR2004 - name, threshold, one member
            raise Malformed("not 'group NAME all|any|K MEMBER…'")
        name, threshold, *members = words
        for member in members:
            self._known(member)
            if member in self._members:
                raise Malformed(f"{member!r} is a member already")
            self._members.add(member)
        counts = {"any": 1, "all": len(members)} | {str(k): k for k in range(1, len(members) + 1)}
        if threshold not in counts:
            raise Malformed(f"{threshold[:20]!r} is not all, any, or a number from 1 to {len(members)}")
        self._define(name, Group(name, counts[threshold], tuple(members)))

    def _quorum(self, words: list[str]) -> None:
        if len(words) != 1 or self.quorum is not None:
            raise Malformed("not 'quorum NAME', or a second quorum line")
        if words[0] != NONE:
            self._known(words[0])
        self.quorum = words[0]

    def _known(self, name: str) -> None:
        if name not in self.names:
            raise Malformed(f"{name[:NAME_BYTES_MAX]!r} is not defined above")

    def _define(self, name: str, item: Witness | Group) -> None:
        if len(name.encode()) > NAME_BYTES_MAX:
            raise TooLarge(f"a name of more than {NAME_BYTES_MAX} bytes")
        if name == NONE or name in self.names:
            raise Malformed(f"{name!r} has a meaning already")
        if len(self.names) == limits.POLICY_NAMES_MAX:
            raise TooLarge(f"more than {limits.POLICY_NAMES_MAX} names")
        self.names[name] = item


def _key(text: str, types: set[int]) -> VerifierKey:
    key = VerifierKey.parse(text)
    if key.type not in types:
        raise Malformed(f"a key of type {key.type} does not sign such lines")
    return key


def _given(url: str | None) -> list[str]:
    return [] if url is None else [url]
