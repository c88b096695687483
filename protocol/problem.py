"""Problems (SPEC §13.1): what a node answers when it does not do as asked, as RFC 9457 JSON with a stable code.

The table is the whole list: a code, its HTTP status, and what to do about it. What was wrong goes into ``detail``.
"""

from __future__ import annotations

import json
from typing import Any

from protocol import text
from protocol.errors import Malformed

MEDIA_TYPE = "application/problem+json"
_JSON_BYTES_MAX = 64 * 1024

# code: (HTTP status, what to do)
CODES: dict[str, tuple[int, str]] = {
    # (0) the door
    "not-logged-in": (401, "log in again: POST /v1/session"),
    "login-refused": (401, "ask your custodian whether this key is in a bundle and in force; check node and home"),
    "clock-skew": (401, "set this machine's clock"),
    "not-speaking-for": (403, "log in with a seat of the agency that the statement names"),
    "role-missing": (403, "ask your custodians for the role in the directory"),
    "too-many-attempts": (429, "wait a minute"),
    # (1) form
    "malformed": (400, "send what SPEC §9.2 says; this client may be too old"),
    "too-large": (413, "make it smaller: SPEC §2 has the bounds"),
    # (2) seen before
    "seen-before": (409, "nothing: it is there already"),
    "id-reused": (409, "post it under a new id"),
    # (3) where and when
    "wrong-exchange": (422, "check the pin of your home"),
    "wrong-origin": (422, "post it at the ledger that it names"),
    "not-home": (422, "post it at your agency's home node"),
    "suite-unknown": (422, "upgrade this client"),
    "suite-too-weak": (422, "sign it with suite 2"),
    "stale-directory": (409, "fetch the directory in force and seal anew"),
    "expired": (422, "write it anew with a later expiry"),
    "expires-too-late": (422, "choose an earlier expiry"),
    "created-in-future": (422, "set this machine's clock"),
    "directory-expired": (422, "the custodians of every nation publish the next version"),
    "directory-missing": (422, "post the JSON with the statement"),
    "directory-mismatch": (422, "post the JSON that the statement names"),
    "bundle-times": (422, "issue the bundle anew"),
    # (4) who
    "agency-unknown": (403, "ask your custodians to enter the agency in the directory"),
    "agency-suspended": (403, "ask your nation's custodians"),
    "key-revoked": (403, "make a new seat: keys new, and have it added to a bundle"),
    "key-not-in-force": (403, "have your custodian issue a bundle that lists this seat"),
    "wrong-signer": (422, "sign it with the key that it names"),
    "threshold-missing": (422, "collect more signatures"),
    "bad-key": (422, "make the key anew"),
    # (5) label
    "label-policy": (422, "use a level of your own nation's policy"),
    "sender-not-cleared": (422, "use a lower label, or have a cleared agency send it"),
    "feed-not-joined": (422, "choose a feed that you are a member of"),
    "feed-ceiling": (422, "use a lower label or another feed"),
    "recipient-denied": (422, "leave those recipients out, or label it so that they may read it"),
    "domestic-only": (422, "add a recipient abroad or choose a feed that allows domestic bulletins"),
    # (6) wraps
    "stale-keys": (409, "fetch the newest bundles and seal anew"),
    # (7) relations
    "target-unknown": (422, "check which bulletin is meant"),
    "not-yours": (403, "only the sender can do that"),
    "not-asked": (403, "only those who were asked can answer"),
    "status-differs": (422, "an exercise ends an exercise, actual ends actual"),
    "recipient-left-out": (422, "send it to everyone who had the first"),
    "directory-chain": (409, "build on the version in force"),
    "bundle-chain": (409, "issue the bundle anew on the newest one"),
    # (8) hashes and signatures
    "bad-signature": (422, "sign it again with the right key"),
    "wrong-hash": (422, "send the wraps and body that were signed"),
    # (9) quota
    "quota-exceeded": (429, "wait, or ask the custodians for a larger quota"),
    # the rest of HTTP
    "not-found": (404, "check the address"),
    "expunged": (410, "it was kept for its retention and is gone for good"),
    "withheld": (403, "ask your custodians"),
    "method-not-allowed": (405, "see SPEC §11 for the routes"),
    "unsupported-media-type": (415, "use the media type of SPEC §11"),
    "length-required": (411, "send a Content-Length"),
    "request-timeout": (408, "send it faster"),
    "bad-cursor": (400, "begin again without one"),
    "bad-parameter": (400, "see SPEC §11 for the parameters"),
    "storage-unavailable": (503, "try again soon; the operator is told"),
    "not-signing": (503, "the node waits for its peers or its operator"),
    "stopping": (503, "try again soon"),
    "internal-error": (500, "tell the operator"),
}


class Problem(Exception):
    """One problem; ``extra`` holds members such as ``step``, ``index`` and ``agencies``."""

    def __init__(self, code: str, detail: str, extra: dict[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail, self.extra = code, detail, extra or {}

    @property
    def status(self) -> int:
        """The HTTP status."""
        return CODES[self.code][0]

    @property
    def hint(self) -> str:
        """What to do."""
        return CODES[self.code][1]

    def to_json(self) -> bytes:
        """The body of the answer."""
        value = {
            "type": f"urn:khunjerab:problem:{self.code}",
            "title": self.code.replace("-", " ").capitalize(),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "hint": self.hint,
            **self.extra,
        }
        return json.dumps(value, ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Problem:
        """A node's answer, its words safe to print; Malformed for anything that is no problem of ours."""
        try:
            value = json.loads(data[:_JSON_BYTES_MAX])
            known = {"type", "title", "status", "code", "detail", "hint"}
            if value["code"] in CODES:
                extra = {name: item for name, item in value.items() if name not in known}
                return cls(value["code"], text.clean(str(value["detail"])), extra)
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        raise Malformed("not a problem of SPEC §13.1")
