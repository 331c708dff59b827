"""Where a viewer who clicks on an ad is sent on: to targets that are signed, or on a listed host, and nowhere else.

A redirect to whatever the URL says would lend the platform's name to anybody's page. A signature is

    base64url(HMAC-SHA256(ads.click_secret, imp LF cmp LF to)[:16])        22 characters, without padding

with `imp` and `cmp` as sent, in lower case, and `to` as decoded. One made with an empty `imp` fits every impression:
that of a URL made before there is one. Pure.
"""

import hmac
import re
from base64 import urlsafe_b64encode
from typing import Final

from ingest.answer import Answer, refusal

SIGNATURE_BYTES: Final = 16
"""Of SHA-256's 32: 128 bits, and no URL longer than it must be."""
INVALID_TARGET: Final = "invalid_target"
INVALID_SIGNATURE: Final = "invalid_signature"
UNSIGNED_TARGET: Final = "unsigned_target"
SENTENCES: Final = {
    INVALID_TARGET: "The target is no absolute http or https URL, percent-encoded, without a user name.",
    INVALID_SIGNATURE: "The signature is not that of this impression, campaign and target.",
    UNSIGNED_TARGET: "The target is neither signed nor on a listed host.",
}

_TARGET: Final = re.compile(
    r"https?://([a-z0-9.-]+)(?::[0-9]{1,5})?(?:[/?#][!#-;=?-\[\]_a-z~]*)?", re.IGNORECASE | re.ASCII
)
"""A host of plain letters and a tail of visible ASCII: nothing that a browser reads otherwise than we do (a backslash,
a blank, a line's end, a user name) or that HTML would end at.
"""


class TargetRefused(Exception):
    """The viewer is not sent there; `code` says why."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(SENTENCES[code])

    @property
    def answer(self) -> Answer:
        """400."""
        return refusal(400, self.code, SENTENCES[self.code])


class Targets:
    """What may be clicked through to. `secret`: empty, and no signature is right; `hosts`: by commas."""

    def __init__(self, secret: str, hosts: str) -> None:
        self._secret = secret.encode()
        listed = [host.strip().lower() for host in hosts.split(",") if host.strip(" .")]
        self._hosts = frozenset(host for host in listed if not host.startswith("."))
        self._below = tuple(host for host in listed if host.startswith("."))

    def location(self, said: dict[str, str]) -> str:
        """The target of a click's query (`ingest.decode.vast.parameters`). Raises TargetRefused."""
        target = said["to"]
        match = _TARGET.fullmatch(target)
        if match is None:
            raise TargetRefused(INVALID_TARGET)
        host = match[1].lower()
        if host in self._hosts or host.endswith(self._below):
            return target
        if (told := said.get("sig")) is None:
            raise TargetRefused(UNSIGNED_TARGET)
        imp, cmp = said.get("imp", ""), said.get("cmp", "")
        right = {signature(self._secret, one, cmp, target).encode() for one in (imp, "")}
        found = [hmac.compare_digest(one, told.encode("utf-8", "surrogatepass")) for one in right]
        if not self._secret or not any(found):
            raise TargetRefused(INVALID_SIGNATURE)
        return target


def signature(secret: bytes, imp: str, cmp: str, target: str) -> str:
    """Of a click: `imp` and `cmp` as the URL says them, either may be empty; `target` decoded."""
    message = f"{imp.lower()}\n{cmp.lower()}\n{target}".encode("utf-8", "surrogatepass")
    digest = hmac.digest(secret, message, "sha256")[:SIGNATURE_BYTES]
    return urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def redirect(target: str) -> Answer:
    """302, every time anew."""
    return Answer(302, b"This way.\n", (("Location", target), ("Cache-Control", "no-store")), "text/plain")
