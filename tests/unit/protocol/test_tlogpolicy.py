"""protocol/tlogpolicy.py: who must have signed, as C2SP tlog-policy says it."""

import hashlib
import itertools

import pytest

from protocol.errors import Malformed, ProtocolError, TooLarge
from protocol.note import COSIGNATURE_ED25519, COSIGNATURE_MLDSA44, ED25519, VerifierKey
from protocol.tlogpolicy import Policy


def _key(name: str, key_type: int = COSIGNATURE_ED25519) -> VerifierKey:
    length = 1312 if key_type == COSIGNATURE_MLDSA44 else 32
    return VerifierKey(f"{name}.example", key_type, hashlib.shake_128(name.encode()).digest(length))


LOG = _key("log", ED25519)
X1, X2, X3, Y1, Y2 = (_key(name) for name in ("x1", "x2", "x3", "y1", "y2"))
WITNESSES = "".join(f"witness {key.name.partition('.')[0]} {key.encode()}\n" for key in (X1, X2, X3, Y1, Y2))
TWO_LEVELS = f"""\
# who must have signed
log {LOG.encode()} https://log.example

{WITNESSES}\
group x 2 x1 x2 x3
\tgroup   y\tany y1 y2 \n\
group both all x y
quorum both
"""


def test_a_policy_of_two_levels_is_met_by_enough_of_each_group() -> None:
    """The specification's example: two of three, and any of the others."""
    policy = Policy.parse(TWO_LEVELS)
    keys = (X1, X2, X3, Y1, Y2)
    for count in range(6):
        for cosigners in itertools.combinations(keys, count):
            enough = len({X1, X2, X3} & set(cosigners)) >= 2 and bool({Y1, Y2} & set(cosigners))
            assert policy.satisfied_by(set(cosigners)) is enough


def test_a_policy_names_its_log_and_witness_keys() -> None:
    """By origin; a log with two keys has two lines."""
    second = VerifierKey(LOG.name, COSIGNATURE_MLDSA44, bytes(1312))
    policy = Policy.parse(TWO_LEVELS + f"log {second.encode()}\n")
    assert policy.log_keys(LOG.name) == [LOG, second]
    assert policy.log_keys("other.example") == []
    assert policy.witness_keys() == [X1, X2, X3, Y1, Y2]
    assert policy.logs[0].url == "https://log.example"


def test_quorum_none_asks_for_nobody() -> None:
    """The policy of a node without peers."""
    policy = Policy.parse("quorum none\n")
    assert policy.satisfied_by(set())
    assert policy == Policy()
    assert policy.encode() == "quorum none\n"


def test_a_quorum_can_be_one_witness() -> None:
    """Its key counts, and no other key under its name."""
    policy = Policy.parse(f"witness w {X1.encode()}\nquorum w\n")
    assert policy.satisfied_by({X1})
    assert not policy.satisfied_by(set())
    assert not policy.satisfied_by({X2, VerifierKey(X1.name, COSIGNATURE_MLDSA44, bytes(1312))})


def test_a_policy_that_is_written_is_read_back() -> None:
    """Without its comments, and the same from then on. SPEC 9.3.9."""
    policy = Policy.parse(TWO_LEVELS)
    assert Policy.parse(policy.encode()) == policy
    assert Policy.parse(policy.encode()).encode() == policy.encode()
    assert "group y 1 y1 y2\n" in policy.encode()


W = f"witness w {X1.encode()}\n"
V = f"witness v {X2.encode()}\n"


@pytest.mark.parametrize(
    "text, line",
    [
        ("quorum w\n", 1),
        ("quorum none\nquorum none\n", 2),
        ("quorum\n", 1),
        ("quorum none none\n", 1),
        (f"quorum w\n{W}", 1),
        (f"{W}quorum other\n", 2),
        ("speak\nquorum none\n", 1),
        ("LOG x\nquorum none\n", 1),
        ("log\n", 1),
        ("log nonsense\n", 1),
        (f"log {LOG.encode()} url more\n", 1),
        (f"log {LOG.encode()}\nlog {LOG.encode()}\n", 2),
        (f"log {X1.encode()}\n", 1),
        (f"witness w {LOG.encode()}\n", 1),
        ("witness w\n", 1),
        (f"witness none {X1.encode()}\n", 1),
        (f"{W}witness v {X1.encode()}\n", 2),
        (f"{W}witness w {X2.encode()}\n", 2),
        (f"{W}witness v {VerifierKey('else.example', COSIGNATURE_ED25519, X1.public).encode()}\n", 2),
        ("group g all\n", 1),
        ("group g all w\n", 1),
        (f"{W}group g all g\n", 2),
        (f"{W}group g all none\n", 2),
        (f"{W}group g 0 w\n", 2),
        (f"{W}group g 2 w\n", 2),
        (f"{W}group g 01 w\n", 2),
        (f"{W}group g 一 w\n", 2),
        (f"{W}group g all w w\n", 2),
        (f"{W}{V}group g all w\ngroup h all w v\n", 4),
        (f"{W}group w all w\n", 2),
        (f"{W}group none all w\n", 2),
        ("# comment\r\nquorum none\n", 1),
        ("\n\x0b\nquorum none\n", 2),
        ("# \x7f\nquorum none\n", 1),
        ("# \ud800\nquorum none\n", 1),
        (f"witness\u3000w {X1.encode()}\nquorum none\n", 1),
    ],
)
def test_a_wrong_line_is_refused_by_its_number(text: str, line: int) -> None:
    """What a person wrote gets an answer that a person can use. SPEC 9.3.9."""
    with pytest.raises(Malformed, match=rf"^line {line}: "):
        Policy.parse(text)


def test_a_file_that_is_no_policy_is_not_read_out() -> None:
    """It may be a passphrase."""
    with pytest.raises(Malformed) as refused:
        Policy.parse("C-U5DOyqxG8ns7-HZOb2\n")
    assert "C-U5" not in refused.value.detail


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", W, "quorum none"])
def test_a_policy_has_a_quorum_and_ends_in_a_newline(text: str) -> None:
    """Exactly one."""
    with pytest.raises(Malformed):
        Policy.parse(text)


def test_a_policy_is_bounded() -> None:
    """At least 32 of each are supported, at most 256 names; and the text, and a name."""
    lines = [f"witness w{number} {_key(str(number)).encode()}" for number in range(257)]
    assert len(Policy.parse("\n".join([*lines[:256], "quorum none", ""])).items) == 256
    with pytest.raises(TooLarge, match="line 257"):
        Policy.parse("\n".join([*lines, "quorum none", ""]))
    logs = [f"log {_key(str(number), ED25519).encode()}" for number in range(257)]
    assert len(Policy.parse("\n".join([*logs[:256], "quorum none", ""])).logs) == 256
    with pytest.raises(TooLarge, match="line 257"):
        Policy.parse("\n".join([*logs, "quorum none", ""]))
    with pytest.raises(TooLarge):
        Policy.parse("#" * 2**20 + "\n")
    with pytest.raises(TooLarge):
        Policy.parse(f"witness {'w' * 256} {X1.encode()}\n")
    assert issubclass(TooLarge, ProtocolError)
