"""Long runs of letters and digits: API keys, JSON Web Tokens, wallet keys, accounts, codes.

A key has no spaces and is long, so only runs of 15 and more characters are looked at; they are
found by searching the text's classes for fifteen equal ones, which takes 2 µs for 4 KB. Each
provider's key is told by its public prefix, not by how random it looks: order ids, hashes and
wallet addresses look as random as keys do.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from affidavit.pipeline.redact import checks, kinds
from affidavit.pipeline.redact.kinds import Span

LEAST: Final = 15
_RUN: Final = b"x" * LEAST
_SPACE: Final = b" "
_BEYOND: Final = 256
"""Characters after a run that a key may still take in: dots, slashes and plus signs."""

_ANY: Final = r"A-Za-z0-9_\-"
_B62: Final = "A-Za-z0-9"
_HEX: Final = "a-f0-9"

# What providers give out: a literal prefix, then one set of characters with a lower bound, so a
# place that fails has cost no more than that bound.
_KEY: Final = (
    rf"sk-(?:ant|proj|svcacct|admin|or-v1|lf|None)-[{_ANY}]{{16,}}"  # Anthropic, OpenAI, OpenRouter
    rf"|sk-[{_B62}]{{20,}}|sess-[{_B62}]{{36,}}"  # OpenAI, DeepSeek
    rf"|A(?:KI|SI|BI|CC|GP|ID|RO|NP)A[A-Z0-9]{{16}}(?![{_B62}])|ABSK[{_B62}+/=]{{60,}}"  # AWS
    rf"|AIza[{_ANY}]{{35}}|GOCSPX-[{_ANY}]{{20,}}|GOOG[A-Z0-9]{{20,}}|1//0[{_ANY}]{{30,}}"  # Google
    rf"|gh[pousr]_[{_B62}]{{30,}}|github_pat_[{_B62}_]{{30,}}"  # GitHub
    rf"|gl(?:pat|ptt|rt|soat|dt|cbt|ft|imt|agent)-[{_ANY}]{{18,}}"  # GitLab
    rf"(?:\.[0-9a-z]{{2}}\.[0-9a-z]{{9}})?"
    rf"|xox[abeoprs]-[{_B62}-]{{10,}}|xapp-[{_B62}-]{{15,}}"  # Slack
    rf"|[sr]k_(?:live|test)_[{_B62}]{{16,}}|whsec_[{_B62}+/=]{{20,}}"  # Stripe
    rf"|hf_[{_B62}]{{30,}}|api_org_[{_B62}]{{30,}}"  # Hugging Face
    rf"|npm_[{_B62}]{{36}}|pypi-[{_ANY}]{{50,}}|rubygems_[{_HEX}]{{48}}"
    rf"|oy2[a-z0-9]{{43}}"  # registries
    rf"|dckr_(?:pat|oat)_[{_ANY}]{{20,}}|cio[{_B62}]{{32}}"
    rf"|SK[{_HEX}]{{32}}(?![{_B62}])"  # Twilio
    rf"|gsk_[{_B62}]{{40,}}|xai-[{_B62}]{{40,}}|pplx-[{_B62}]{{40,}}|r8_[{_B62}]{{30,}}"  # models
    rf"|fw_[{_B62}]{{20,}}|nvapi-[{_ANY}]{{40,}}|csk-[a-z0-9]{{40,}}|tgp_v1_[{_ANY}]{{30,}}"
    rf"|lsv2_[a-z]{{2}}_[{_HEX}_]{{30,}}|ls__[{_HEX}]{{30,}}"
    rf"|do[opr]_v1_[{_HEX}]{{60,}}|dapi[{_HEX}]{{32}}|shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{{32}}"  # shops
    rf"|sq0(?:atp|csp|idp)-[{_ANY}]{{20,}}|EAAA[{_ANY}]{{50,}}|EAAC[{_B62}]{{60,}}"
    rf"|key-[{_HEX}]{{32}}"
    rf"|lin_(?:api|oauth)_[{_B62}]{{32,}}|ntn_[{_B62}]{{40,}}|secret_[{_B62}]{{40,}}"
    rf"|gl(?:c|sa)_[{_B62}_+/=]{{30,}}|sntry[su]_[{_B62}_=+/-]{{30,}}"
    rf"|NRAK-[A-Z0-9]{{27}}|NRII-[{_ANY}]{{32}}|tskey-[a-z]{{2,12}}-[{_B62}-]{{15,}}"
    rf"|sbp_[{_HEX}]{{40}}"
    rf"|pscale_(?:tkn|pw|oauth)_[{_ANY}.]{{30,}}|pul-[{_HEX}]{{40}}"
    rf"|AT[AC]TT3[{_ANY}=]{{50,}}|PMAK-[{_HEX}]{{24}}-[{_HEX}]{{34}}|CFPAT-[{_ANY}]{{40,}}"
    rf"|figd_[{_ANY}]{{38,}}|ph[cx]_[{_B62}]{{40,}}|rnd_[{_B62}]{{28,}}|xkeysib-[{_HEX}]{{60,}}(?:-[{_B62}]{{16}})?"
    rf"|sb_secret_[{_ANY}]{{20,}}|pcsk_[{_B62}_]{{30,}}|tvly-[{_ANY}]{{20,}}|sk_[{_HEX}]{{48}}"
    rf"|HRKU-[{_ANY}]{{30,}}|bkua_[{_HEX}]{{40}}|CCIPAT_[{_ANY}]{{20,}}|sq[aup]_[{_HEX}]{{40}}"
    rf"|AKCp[0-9][{_B62}]{{50,}}|pat-(?:na|eu|ap)[0-9]-[{_HEX}-]{{36}}|LTAI[{_B62}]{{16,26}}"
    rf"|AKID[{_B62}]{{32}}|AQVN[{_ANY}]{{34,}}|vc[acikpr]_[{_B62}]{{24,}}|fm[12][ar]?_[{_B62}+/=]"
    rf"{{60,}}|rzp_(?:live|test)_[{_B62}]{{14}}|FLWSECK(?:_TEST)?-[{_ANY}]{{20,}}|tfp_[{_B62}]"
    rf"{{40,}}|EAA[A-Z][{_B62}]{{60,}}|AGE-SECRET-KEY-1[A-Z0-9]{{50,}}|GR1348941[{_ANY}]{{20}}"
    rf"|[{_HEX}]{{32}}-us[0-9]{{1,2}}(?![{_B62}])"
    rf"|re_[{_B62}]{{8,12}}_[{_B62}]{{16,}}|ops_eyJ[{_ANY}]{{80,}}"
)
_KEYS: Final = re.compile(rf"(?<![{_B62}])(?:{_KEY})")
# Prefixes nothing else has, wherever they stand: after the rest of an escape, for one.
_SURE: Final = re.compile(
    rf"sk-(?:ant|proj|svcacct|or-v1)-[{_ANY}]{{20,}}|gh[pousr]_[{_B62}]{{36}}|github_pat_[{_B62}_]"
    rf"{{30,}}|glpat-[{_ANY}]{{18,}}|xox[abeoprs]-[{_B62}-]{{15,}}|AIza[{_ANY}]{{35}}"
    rf"|[sr]k_(?:live|test)_[{_B62}]{{20,}}|hf_[{_B62}]{{34}}|npm_[{_B62}]{{36}}"
)
_KEYS_WITH_DOT: Final = re.compile(
    rf"SG\.[{_ANY}]{{16,32}}\.[{_ANY}]{{30,64}}|hv[sbr]\.[{_ANY}]{{20,}}|ya29\.[{_ANY}.]{{20,}}"
    rf"|dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[a-z0-9_-]{{2,35}}\.)?[{_B62}]{{40,}}|mlsn\.[{_HEX}]{{60,}}|xoxe\.[{_ANY}]{{15,}}"
    rf"|[MNO][{_ANY}]{{23,27}}\.[{_ANY}]{{6}}\.[{_ANY}]{{27,}}"  # Discord
    rf"|AQ\.[{_ANY}]{{30,}}|snyk_uat\.[{_ANY}.]{{20,}}|[{_B62}]{{14}}\.atlasv1\.[{_ANY}=]{{50,}}"
    rf"|dt0[a-z][0-9]{{2}}\.[A-Z0-9]{{24}}\.[A-Z0-9]{{64}}|sl\.(?:u\.)?[{_ANY}]{{60,}}"
    rf"|(?<![A-Za-z0-9])s\.[{_B62}]{{24}}(?![{_B62}])|1//0[{_ANY}]{{30,}}"
    rf"|[{_ANY}]{{3}}[0-9]Q~[{_ANY}.~]{{31,34}}"  # Microsoft Entra
    rf"|EwB[{_B62}+/=]{{100,}}|[0-9]{{8,10}}:[{_ANY}]{{35}}(?![{_ANY}])"  # Telegram
)
_LEFT_OF_DOT: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:SG|hv[sbr]|ya29|dp\.(?:pt|st|ct|sa|scim|audit)(?:\.[a-z0-9_-]{2,35})?|mlsn|xoxe"
    r"|AQ|s|sl(?:\.u)?|snyk_uat(?:\.[a-f0-9]{8})?|[A-Za-z0-9]{14}\.atlasv1|dt0[a-z][0-9]{2}(?:\.[A-Z0-9]{24})?)\.\Z"
    r"|1//\Z|[A-Za-z0-9_-]{3}[0-9]Q~\Z|(?<![0-9A-Za-z])[0-9]{8,10}:\Z"
)
_JWT: Final = re.compile(rf"eyJ[{_ANY}]{{10,}}\.[{_ANY}]{{8,}}(?:\.[{_ANY}]*){{0,3}}")
_AWS_ID: Final = re.compile(r"A(?:KI|SI)A[A-Z]{16}")
_AWS_SESSION: Final = re.compile(rf"(?:FwoGZXIvYXdz|IQoJb3JpZ2lu)[{_B62}+/=%]{{60,2048}}")
_HEX_64: Final = re.compile(rf"[{_HEX}]{{64}}")
_WORDY: Final = re.compile(r"[a-z_-]+\Z|[A-Z_]+\Z")
_CODICE: Final = re.compile(
    r"[A-Z]{6}[0-9LMNP-V]{2}[ABCDEHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]"
)
_EXTENDED: Final = re.compile(r"[xyztuv]prv[1-9A-HJ-NP-Za-km-z]{80,112}")
_WIF: Final = re.compile(r"[5KL9c][1-9A-HJ-NP-Za-km-z]{50,51}")
_KEY_WORD: Final = re.compile(r"wif|priv|key|schl\xfcssel|clave|cl\xe9|chiave|chave", re.IGNORECASE)
_SAID: Final = 40
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_AWS_SECRET: Final = re.compile(rf"(?<![{_B62}/+=])[{_B62}/+]{{40}}(?![{_B62}/+=])")
_HASH: Final = re.compile(r"[a-f0-9]{40}")
_NEAR: Final = 200
_RANDOM: Final = re.compile(r"(?=.*[A-Z])(?=.*[a-z])(?=(?:[^0-9]*[0-9]){3})[A-Za-z0-9_-]{24,}")


class Runs:
    """Finds keys and codes; ``bold`` takes each long mixed run for a key."""

    def __init__(self, *, bold: bool = False) -> None:
        self._bold = bold

    def find(self, text: str, classes: bytes, found: list[Span]) -> None:
        """Add what is found in the text; ``classes`` comes from its shadow."""
        at = classes.find(_RUN)
        while at >= 0:
            start = at
            end = classes.find(_SPACE, at)
            if end < 0:
                end = len(classes)
            run = text[start:end]
            if _WORDY.match(run) is None or _AWS_ID.fullmatch(run) is not None:
                self._look(text, run, start, end, found)
            at = classes.find(_RUN, end)

    def _look(self, text: str, run: str, start: int, end: int, found: list[Span]) -> None:
        if "eyJ" in run:
            token = _JWT.match(text, start + run.index("eyJ"))
            if token is not None:
                found.append((*token.span(), kinds.JWT))
                return
        if (session := _AWS_SESSION.match(text, start)) is not None:
            found.append((*session.span(), kinds.API_KEY))
            return
        before = len(found)
        for match in _KEYS.finditer(text, start, min(len(text), end + _BEYOND)):
            if match.start() >= end:
                break
            found.append((*match.span(), kinds.API_KEY))
            if match[0][0] == "A":
                _secret_of(text, *match.span(), found)
        if len(found) == before and (sure := _SURE.search(text, start, end)) is not None:
            found.append((*sure.span(), kinds.API_KEY))
        elif len(found) == before and not self._dotted(text, start, end, found):
            kind = self._code(run, text[max(0, start - _SAID) : start])
            if kind is not None:
                found.append((start, end, kind))

    def _dotted(self, text: str, start: int, end: int, found: list[Span]) -> bool:
        """Keys with dots inside: the run may be any part of them."""
        at = start
        if text[start - 1 : start] in {".", ":", "/", "~"}:
            left = _LEFT_OF_DOT.search(text, max(0, start - 44), start)
            at = left.start() if left is not None else start
        elif text[end : end + 1] not in {".", "~"}:
            return False
        match = _KEYS_WITH_DOT.match(text, at)
        if match is None:
            return False
        found.append((*match.span(), kinds.API_KEY))
        return True

    def _code(self, run: str, left: str) -> str | None:
        """Tell what a whole run is: an account, an Italian code, a wallet's private key."""
        size = len(run)
        if size <= 34:  # noqa: PLR2004 - the longest IBAN
            if run[2:4].isdigit() and checks.iban(run.upper()):
                return kinds.IBAN
            if size == 16:  # noqa: PLR2004 - the length of a codice fiscale
                code = run.upper()
                if _CODICE.fullmatch(code) is not None and checks.codice_fiscale(code):
                    return kinds.ID_IT
        elif size <= 52:  # noqa: PLR2004 - the longest wallet import format
            if _WIF.fullmatch(run) is not None and (_base58_check(run) or _KEY_WORD.search(left)):
                return kinds.PRIVATE_KEY
        elif _EXTENDED.fullmatch(run) is not None:
            return kinds.PRIVATE_KEY
        signs = left.endswith("Signature=") and _HEX_64.fullmatch(run) is not None
        random = self._bold and size <= _BEYOND and _RANDOM.fullmatch(run) is not None
        return kinds.API_KEY if signs or random else None


def _secret_of(text: str, start: int, end: int, found: list[Span]) -> None:
    """Add the secret that stands near an AWS key id: forty characters without any prefix."""
    match = _AWS_SECRET.search(text, end, min(len(text), end + _NEAR))
    if match is None:
        near = list(_AWS_SECRET.finditer(text, max(0, start - _NEAR), start))
        match = near[-1] if near and not _HASH.fullmatch(near[-1][0]) else None
    if match is not None:
        found.append((*match.span(), kinds.API_KEY))


def _base58_check(text: str) -> bool:
    """Whether the last four bytes are the double SHA-256 of the others."""
    number = 0
    for character in text:
        number = number * 58 + _BASE58.index(character)
    try:
        raw = number.to_bytes(37 if len(text) == 51 else 38, "big")  # noqa: PLR2004 - uncompressed
    except OverflowError:
        return False
    return hashlib.sha256(hashlib.sha256(raw[:-4]).digest()).digest()[:4] == raw[-4:]
