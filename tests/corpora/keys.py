# ruff: noqa: D102 - each method is named after what it draws
"""Synthetic secrets: keys, tokens, wallets and passwords."""

from __future__ import annotations

import base64
import json
import string

from tests.corpora.drawing import (
    BASE58,
    FIRST_NAMES,
    HEX,
    LAST_NAMES,
    LETTERS_AND_DIGITS,
    WORDS,
    Drawing,
)


class Keys(Drawing):
    """Each provider's shape, drawn at random."""

    def password(self) -> str:
        r = self._r
        word = r.choice(WORDS).capitalize()
        return r.choice(
            (
                f"{word}{r.randrange(10, 9999)}!",
                f"{word}-{r.randrange(100)}_{r.choice(WORDS)}",
                f"{self._token(12)}#",
                f"{r.choice(LAST_NAMES)}{r.randrange(1900, 2030)}",
                f"P@{word}{r.randrange(99)}",
            )
        )

    def passphrase(self) -> str:
        return " ".join(self._r.sample(WORDS, 4))

    def pin(self) -> str:
        return self._r.choice("123456789") + self._digits(7)

    def secret(self) -> str:
        return self._token(self._r.choice((32, 40, 64)))

    def hex32(self) -> str:
        return self._pick(HEX, 30) + "a1"

    def openai(self) -> str:
        return self._r.choice(
            (f"sk-proj-{self._token(48)}", f"sk-{self._token(48)}", f"sk-svcacct-{self._token(40)}")
        )

    def anthropic(self) -> str:
        return f"sk-ant-api03-{self._token(80)}-{self._token(6)}AA"

    def aws_id(self) -> str:
        return "AKIA" + self._pick(string.ascii_uppercase + "234567", 16)

    def aws_secret(self) -> str:
        return self._pick(LETTERS_AND_DIGITS + "/+", 38) + "a7"

    def google(self) -> str:
        return "AIza" + self._pick(LETTERS_AND_DIGITS + "_-", 34) + "Q"

    def github(self) -> str:
        return self._r.choice(
            (
                f"ghp_{self._token(36)}",
                f"gho_{self._token(36)}",
                f"github_pat_{self._token(22)}_{self._token(59)}",
            )
        )

    def gitlab(self) -> str:
        return f"glpat-{self._token(20)}"

    def slack(self) -> str:
        return f"xoxb-{self._digits(12)}-{self._digits(12)}-{self._token(24)}"

    def stripe(self) -> str:
        return f"{self._r.choice(('sk_live', 'rk_live', 'sk_test'))}_{self._token(24)}"

    def huggingface(self) -> str:
        return f"hf_{self._token(34)}"

    def npm(self) -> str:
        return f"npm_{self._token(36)}"

    def pypi(self) -> str:
        return f"pypi-AgEIcHlwaS5vcmc{self._token(70)}"

    def sendgrid(self) -> str:
        return f"SG.{self._token(22)}.{self._token(43)}"

    def telegram(self) -> str:
        return f"{self._digits(9)}:AA{self._token(33)}"

    def groq(self) -> str:
        return f"gsk_{self._token(52)}"

    def azure(self) -> str:
        return base64.b64encode(self._r.randbytes(64)).decode()

    def jwt(self) -> str:
        def part(value: object) -> str:
            return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

        head = part({"alg": self._r.choice(("HS256", "RS256")), "typ": "JWT"})
        body = part(
            {
                "sub": self._digits(10),
                "name": self._r.choice(FIRST_NAMES),
                "iat": self._r.randrange(10**9),
            }
        )
        return f"{head}.{body}.{self._pick(LETTERS_AND_DIGITS + '_-', 43)}"

    def pem(self) -> str:
        kind = self._r.choice(
            ("RSA PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY")
        )
        body = base64.b64encode(self._r.randbytes(180)).decode()
        lines = "\n".join(body[i : i + 64] for i in range(0, len(body), 64))
        return f"-----BEGIN {kind}-----\n{lines}\n-----END {kind}-----"

    def pem_escaped(self) -> str:
        return self.pem().replace("\n", "\\n")

    def seed(self) -> str:
        return " ".join(self._r.sample(WORDS, 12))

    def wif(self) -> str:
        import hashlib

        raw = b"\x80" + self._r.randbytes(32) + b"\x01"
        raw += hashlib.sha256(hashlib.sha256(raw).digest()).digest()[:4]
        number, text = int.from_bytes(raw, "big"), ""
        alphabet = BASE58
        while number:
            number, rest = divmod(number, 58)
            text = alphabet[rest] + text
        return text

    def hexkey(self) -> str:
        return "0x" + self._pick(HEX, 64)

    def hex64(self) -> str:
        return self._pick(LETTERS_AND_DIGITS.lower(), 62) + "a1"

    def totp(self) -> str:
        return self._pick("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 14) + "K7"

    def infura(self) -> str:
        return f"https://mainnet.infura.io/v3/{self.hex32()}"

    def keypair(self) -> str:
        return "[" + ",".join(str(byte) for byte in self._r.randbytes(64)) + "]"
