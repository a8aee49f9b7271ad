# ruff: noqa: D102 - each method is named after what it draws
"""Synthetic telephone numbers in the groupings of six countries."""

from __future__ import annotations

from tests.corpora.drawing import Drawing, grouped


class Telephones(Drawing):
    """Fictional numbers where a country has set some apart."""

    def phone_es(self) -> str:
        number = self._r.choice("6679") + self._digits(8)
        return self._r.choice(
            (
                grouped(number, (3, 2, 2, 2), " "),
                grouped(number, (3, 3, 3), " "),
                number,
                grouped(number, (3, 3, 3), "-"),
                grouped(number, (3, 3, 3), "."),
                grouped(number, (2, 3, 2, 2), " "),
                grouped(number, (3, 6), " "),
            )
        )

    def phone_es_intl(self) -> str:
        number = self._r.choice("67") + self._digits(8)
        shape = self._r.choice(((3, 3, 3), (3, 2, 2, 2), (9,)))
        lead = self._r.choice(("+34 ", "+34", "(+34) ", "0034 ", "+34-"))
        return f"{lead}{grouped(number, shape, ' ')}"

    def phone_us(self) -> str:
        r = self._r.randrange
        a, b, c = r(201, 989), "555", f"01{r(100):02d}"
        return self._r.choice(
            (
                f"({a}) {b}-{c}",
                f"{a}-{b}-{c}",
                f"+1 {a} {b} {c}",
                f"+1-{a}-{b}-{c}",
                f"{a}.{b}.{c}",
                f"({a}) {b} {c}",
                f"+1{a}{b}{c}",
                f"1-{a}-{b}-{c}",
                f"+1 ({a}) {b}-{c}",
                f"+1.{a}.{b}.{c}",
            )
        )

    def phone_us_bare(self) -> str:
        return f"{self._r.randrange(201, 989)}55501{self._digits(2)}"

    def phone_fr(self) -> str:
        pairs = [f"0{self._r.choice('1267')}", *(self._digits(2) for _ in range(4))]
        return self._r.choice(
            (
                " ".join(pairs),
                ".".join(pairs),
                f"+33 {pairs[0][1]} {' '.join(pairs[1:])}",
                "-".join(pairs),
                f"+33 (0){pairs[0][1]} {' '.join(pairs[1:])}",
                f"+33{pairs[0][1]}{''.join(pairs[1:])}",
            )
        )

    def phone_uk(self) -> str:
        tail, end = f"900{self._digits(3)}", f"0{self._digits(3)}"
        return self._r.choice(
            (
                f"07700 {tail}",
                f"+44 7700 {tail}",
                f"020 7946 {end}",
                f"+44 (0)20 7946 {end}",
                f"(020) 7946 {end}",
                f"0161 496 {end}",
                f"01632 960 {self._digits(3)}",
                f"(01632) 960{self._digits(3)}",
                f"+44 20 7946 {end}",
                f"07700 {tail[:3]} {tail[3:]}",
                f"+447700{tail}",
            )
        )

    def phone_de(self) -> str:
        tail = "1" + self._digits(6)
        return self._r.choice(
            (
                f"030 {tail}",
                f"0151 {tail}8",
                f"+49 30 {tail}",
                f"089/{tail}",
                f"+49 (0)151 {tail}",
                f"0049 30 {tail}",
                f"+49 30 23125 {self._digits(3)}",
                f"030 23125 {self._digits(3)}",
                f"040-66969{self._digits(3)}",
                f"(0221) 4710 {self._digits(3)}",
                f"0171 39200 {self._digits(2)}",
                f"+49 171 39200{self._digits(2)}",
            )
        )

    def phone_it(self) -> str:
        four = self._digits(4)
        return self._r.choice(
            (
                f"+39 347 {self._digits(3)} {four}",
                f"+39 06 5550 {four}",
                f"06 5550 {four}",
                f"02 5550{four}",
                f"+39 02 5550{four}",
                f"+39347{self._digits(7)}",
            )
        )

    def phone_it_mobile(self) -> str:
        return self._r.choice(
            (
                f"347 {self._digits(3)} {self._digits(4)}",
                f"347 {self._digits(7)}",
                f"347{self._digits(7)}",
                f"347.{self._digits(3)}.{self._digits(4)}",
                f"347 {self._digits(2)} {self._digits(2)} {self._digits(3)}",
            )
        )

    def phone_pt(self) -> str:
        return self._r.choice(
            (
                f"91{self._digits(1)} {self._digits(3)} {self._digits(3)}",
                f"91{self._digits(7)}",
                f"21{self._digits(1)} 555 {self._digits(3)}",
                f"91 {self._digits(3)} {self._digits(2)} {self._digits(2)}",
            )
        )

    def phone_pt_intl(self) -> str:
        return self._r.choice(
            (
                f"+351 91{self._digits(1)} {self._digits(3)} {self._digits(3)}",
                f"+351 21 555 {self._digits(4)}",
                f"+35191{self._digits(7)}",
                f"00351 91{self._digits(1)} {self._digits(3)} {self._digits(3)}",
            )
        )
