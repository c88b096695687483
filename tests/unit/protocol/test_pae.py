"""protocol/pae.py: no two lists share an encoding, no two uses a domain."""

import hashlib

from protocol.pae import Domain, digest, pae


def test_the_encoding_is_count_lengths_and_parts() -> None:
    """As in PASETO. SPEC 3.5.1."""
    assert pae() == bytes(8)
    assert pae(b"") == b"\1" + bytes(7) + bytes(8)
    assert pae(b"ab", b"c") == b"\2" + bytes(7) + b"\2" + bytes(7) + b"ab" + b"\1" + bytes(7) + b"c"


def test_moving_a_border_gives_another_encoding() -> None:
    """What concatenation alone would not show. SPEC 3.5.1."""
    lists = [(b"ab", b"c"), (b"a", b"bc"), (b"abc",), (b"ab", b"c", b""), (b"", b"ab", b"c")]
    assert len({pae(*parts) for parts in lists}) == len(lists)


def test_every_use_has_a_domain_of_its_own() -> None:
    """And the same parts under two of them have two hashes. SPEC 3.5.2."""
    assert all(domain.startswith(b"khunjerab/1/") for domain in Domain)
    assert len(Domain) == len({domain.value for domain in Domain}) == len({digest(domain, b"x") for domain in Domain})
    assert digest(Domain.STATEMENT, b"x") == hashlib.sha256(pae(b"khunjerab/1/statement", b"x")).digest()
