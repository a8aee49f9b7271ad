# ruff: noqa: D102 - each method is named after what it draws
"""Synthetic values that belong to persons, with right check digits."""

from __future__ import annotations

import string

from tests.corpora.drawing import FIRST_NAMES, LAST_NAMES, Drawing, grouped


class Personal(Drawing):
    """Addresses, cards, accounts, national identifiers and telephones."""

    def email(self) -> str:
        first, last = self._r.choice(FIRST_NAMES), self._r.choice(LAST_NAMES)
        local = self._r.choice(
            (
                f"{first}.{last}",
                f"{first}{self._r.randrange(10, 99)}",
                f"{first[0]}_{last}",
                f"{first}+news",
                f"{last}-{first}",
                first,
            )
        )
        domain = self._r.choice(
            (
                "example.com",
                "mail.example.org",
                "example.co.uk",
                "firma.example.de",
                "correo.example.es",
                "sub.dom.example.net",
                "example.io",
                "posta.example.it",
                "exemplo.example.pt",
            )
        )
        return f"{local}@{domain}"

    def email_upper(self) -> str:
        return self.email().upper()

    def email_quoted(self) -> str:
        return self.email().replace("@", "%40")

    def email_at(self) -> str:
        return self.email().replace("@", " [at] ")

    def ip(self) -> str:
        r = self._r.randrange
        return self._r.choice(
            (
                f"192.168.{r(256)}.{r(1, 255)}",
                f"10.{r(256)}.{r(256)}.{r(1, 255)}",
                f"203.0.113.{r(1, 255)}",
                f"198.51.100.{r(1, 255)}",
                f"{r(60, 200)}.{r(256)}.{r(256)}.{r(1, 255)}",
            )
        )

    def ip6(self) -> str:
        h = self._r.randrange
        return self._r.choice(
            (
                f"2001:db8::{h(0x1000, 0xFFFF):x}",
                f"2001:db8:{h(1, 0xFFFF):x}:{h(1, 0xFFFF):x}::1",
                f"fe80::{h(0x1000, 0xFFFF):x}:{h(0x1000, 0xFFFF):x}:fe00:1",
                "2001:0db8:" + ":".join(f"{h(0x10000):04x}" for _ in range(6)),
            )
        )

    def card(self) -> str:
        prefix, size = self._r.choice(
            (
                ("4", 16),
                ("4", 16),
                ("51", 16),
                ("55", 16),
                ("2221", 16),
                ("34", 15),
                ("37", 15),
                ("6011", 16),
                ("3530", 16),
            )
        )
        return self._luhn(prefix + self._digits(size - 1 - len(prefix)))

    def _grouped_card(self, sign: str) -> str:
        card = self.card()
        sizes = (4, 6, 5) if len(card) == 15 else (4, 4, 4, 4)
        return grouped(card, sizes, sign)

    def card_spaced(self) -> str:
        return self._grouped_card(" ")

    def card_hyphens(self) -> str:
        return self._grouped_card("-")

    def iban(self) -> str:
        country, body = self._r.choice(
            (
                ("ES", self._digits(20)),
                ("DE", self._digits(18)),
                ("FR", self._digits(20) + "M" + self._digits(2)),
                ("IT", "X" + self._digits(22)),
                ("PT", self._digits(21)),
                ("GB", "NWBK" + self._digits(14)),
                ("NL", "ABNA" + self._digits(10)),
                ("CH", self._digits(17)),
                ("BE", self._digits(12)),
                ("IE", "AIBK" + self._digits(14)),
                ("AT", self._digits(16)),
                ("PL", self._digits(24)),
            )
        )
        number = "".join(str(int(c, 36)) for c in f"{body}{country}00")
        return f"{country}{98 - int(number) % 97:02d}{body}"

    def iban_spaced(self) -> str:
        iban = self.iban()
        return " ".join(iban[i : i + 4] for i in range(0, len(iban), 4))

    def iban_lower(self) -> str:
        return self.iban_spaced().lower()

    def dni(self) -> str:
        number = self._r.randrange(10_000_000, 99_999_999)
        return f"{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}"

    def dni_hyphen(self) -> str:
        dni = self.dni()
        return f"{dni[:8]}-{dni[8]}"

    def dni_dots(self) -> str:
        dni = self.dni()
        return f"{dni[:2]}.{dni[2:5]}.{dni[5:8]}-{dni[8]}"

    def nie(self) -> str:
        first, number = self._r.randrange(3), self._digits(7)
        return f"{'XYZ'[first]}{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[int(f'{first}{number}') % 23]}"

    def nie_hyphens(self) -> str:
        nie = self.nie()
        return f"{nie[0]}-{nie[1:8]}-{nie[8]}"

    def steuer(self) -> str:
        while True:
            places = self._r.sample("0123456789", 9)
            places.insert(self._r.randrange(10), self._r.choice(places))
            if places[0] != "0":
                break
        product = 10
        for digit in places:
            total = (int(digit) + product) % 10 or 10
            product = 2 * total % 11
        return "".join(places) + str((11 - product) % 10)

    def steuer_spaced(self) -> str:
        return grouped(self.steuer(), (2, 3, 3, 3), " ")

    def nir(self) -> str:
        r = self._r.randrange
        body = f"{r(1, 3)}{r(100):02d}{r(1, 13):02d}{r(1, 96):02d}{r(1, 999):03d}{r(1, 999):03d}"
        return f"{body}{97 - int(body) % 97:02d}"

    def nir_spaced(self) -> str:
        return grouped(self.nir(), (1, 2, 2, 2, 3, 3, 2), " ")

    def nir_corsica(self) -> str:
        body = f"{self._r.randrange(1, 3)}{self._digits(2)}052A{self._digits(6)}"
        check = 97 - int(body.replace("2A", "19")) % 97
        return grouped(f"{body}{check:02d}", (1, 2, 2, 2, 3, 3, 2), " ")

    def codice(self) -> str:
        r = self._r
        consonants = "BCDFGLMNPRSTVZ"
        body = (
            self._pick(consonants, 6)
            + f"{r.randrange(40, 99)}"
            + r.choice("ABCDEHLMPRST")
            + f"{r.randrange(1, 28):02d}"
            + r.choice("ABCDEFGHIL")
            + f"{r.randrange(100, 999)}"
        )
        odd = dict(zip("0123456789", (1, 0, 5, 7, 9, 13, 15, 17, 19, 21), strict=True))
        letters = (
            1,
            0,
            5,
            7,
            9,
            13,
            15,
            17,
            19,
            21,
            2,
            4,
            18,
            20,
            11,
            3,
            6,
            8,
            12,
            14,
            16,
            10,
            22,
            25,
            24,
            23,
        )
        odd |= dict(zip(string.ascii_uppercase, letters, strict=True))
        total = 0
        for place, character in enumerate(body, 1):
            if place % 2:
                total += odd[character]
            else:
                total += int(character, 36) - (0 if character.isdigit() else 10)
        return body + string.ascii_uppercase[total % 26]

    def codice_lower(self) -> str:
        return self.codice().lower()

    def nif(self) -> str:
        body = self._r.choice("123") + self._digits(7)
        rest = sum(int(d) * w for d, w in zip(body, range(9, 1, -1), strict=True)) % 11
        return body + str(0 if rest < 2 else 11 - rest)

    def nif_spaced(self) -> str:
        return grouped(self.nif(), (3, 3, 3), " ")

    def nino(self) -> str:
        letters = self._r.choice(("AB", "CE", "JG", "PW", "SX", "YZ"))
        return f"{letters}{self._digits(6)}{self._r.choice('ABCD')}"

    def nino_spaced(self) -> str:
        return grouped(self.nino(), (2, 2, 2, 2, 1), " ")

    def ssn(self) -> str:
        r = self._r.randrange
        return f"{r(100, 665)}-{r(1, 99):02d}-{r(1, 9999):04d}"

    def ssn_bare(self) -> str:
        return self.ssn().replace("-", "")

    def ssn_spaced(self) -> str:
        return self.ssn().replace("-", " ")
