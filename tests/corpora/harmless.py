# ruff: noqa: D102 - each method is named after what it draws
"""What must stay: prices, times, ids, hashes, public addresses."""

from __future__ import annotations

import string

from tests.corpora.drawing import BASE58, HEX, Drawing


class Harmless(Drawing):
    """Numbers and texts of ordinary trading."""

    def ms(self) -> str:
        return str(self._r.randrange(1_600_000_000_000, 1_900_000_000_000))

    def us(self) -> str:
        return f"{self.ms()}{self._digits(3)}"

    def ns(self) -> str:
        return f"{self.ms()}{self._digits(6)}"

    def price(self) -> str:
        return f"{self._r.uniform(1, 100_000):.{self._r.randrange(1, 6)}f}"

    def amount(self) -> str:
        return f"{self._r.randrange(1_000, 90_000_000):,}"

    def order(self) -> str:
        return self._r.choice(
            (
                self._digits(10),
                self._digits(12),
                self._digits(16),
                self._digits(19),
                f"ORD-{self._digits(8)}",
            )
        )

    def uuid(self) -> str:
        h = self._pick(HEX, 32)
        return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-a{h[17:20]}-{h[20:]}"

    def sha256(self) -> str:
        return self._pick(HEX, 64)

    def eth(self) -> str:
        return "0x" + self._pick(HEX, 40)

    def btc(self) -> str:
        return self._r.choice(
            (
                "bc1q" + self._pick("023456789acdefghjklmnpqrstuvwxyz", 38),
                "1" + self._pick(BASE58, 33),
            )
        )

    def sol(self) -> str:
        return self._pick(BASE58, 44)

    def isin(self) -> str:
        body = self._r.choice(("US", "ES", "DE", "FR", "IT", "PT", "GB")) + self._pick(
            string.digits + "ABC", 9
        )
        number = "".join(str(int(c, 36)) for c in body)
        return body + self._luhn(number)[-1]

    def version(self) -> str:
        r = self._r.randrange
        return f"{r(1, 20)}.{r(20)}.{r(20)}.{r(20)}"

    def thousands(self) -> str:
        return f"{self._r.randrange(1_000_000, 999_999_999):,}".replace(
            ",", self._r.choice((".", " "))
        )
