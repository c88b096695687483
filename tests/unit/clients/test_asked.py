"""What an audit goes by: which of the policies handed over is for which ledger."""

from clients.asked import Asked
from keys.lognote import LogSigner
from keys.witnessing import policy_of
from protocol.checkpoint import Checkpoint
from protocol.merkle import EMPTY_ROOT
from protocol.note import Note
from protocol.tlogpolicy import Policy
from tests.support.world import ORIGINS, first_directory, node_keys

PK, CN = (policy_of(first_directory(), ORIGINS[nation]) for nation in ("PK", "CN"))
FOR_ALL = Policy.parse("quorum none\n")


def published(signer: LogSigner) -> str:
    checkpoint = Checkpoint(signer.name, 0, EMPTY_ROOT)
    return Note(checkpoint.text(), tuple(signer.lines(checkpoint, 1_800_000_000))).encode()


def test_a_policy_is_for_the_ledger_that_it_names() -> None:
    """One without log lines is for all that no other names; where none fits, none is asked for."""
    notes = {nation: published(node_keys(nation).log) for nation in ORIGINS}
    both = Asked(bytes(32), policies=(FOR_ALL, CN, PK))
    assert [both.terms(notes[nation]).claims.policy for nation in ("PK", "CN")] == [PK, CN]
    one = Asked(bytes(32), policies=(FOR_ALL, CN))
    assert [one.terms(notes[nation]).claims.policy for nation in ("PK", "CN")] == [FOR_ALL, CN]
    assert Asked(bytes(32), policies=(CN,)).terms(notes["PK"]).claims.policy is None
    assert both.policied() == set(ORIGINS.values())
