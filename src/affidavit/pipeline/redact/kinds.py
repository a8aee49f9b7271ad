"""The kinds of sensitive text that are looked for, their groups and what is said about each."""

from __future__ import annotations

from typing import Final

EMAIL: Final = "email"
PHONE: Final = "phone"
CARD: Final = "card"
CARD_CODE: Final = "card_security_code"
IBAN: Final = "iban"
ID_ES: Final = "national_id_es"
ID_DE: Final = "national_id_de"
ID_FR: Final = "national_id_fr"
ID_IT: Final = "national_id_it"
ID_PT: Final = "national_id_pt"
ID_UK: Final = "national_id_uk"
ID_US: Final = "national_id_us"
IP: Final = "ip"
API_KEY: Final = "api_key"
JWT: Final = "jwt"
PRIVATE_KEY: Final = "private_key"
PASSWORD: Final = "password"  # noqa: S105 - the name of a kind

KINDS: Final[dict[str, str]] = {
    PRIVATE_KEY: "PEM blocks of private keys, wallet keys (WIF, xprv) and seed phrases",
    JWT: "JSON Web Tokens",
    API_KEY: "keys and tokens of providers and clouds, Authorization headers, api_key= and token=",
    PASSWORD: "passwords and PINs in URLs and in assignments, and values of fields named so",
    EMAIL: "e-mail addresses",
    IBAN: "bank accounts: length of the country and mod 97",
    CARD: "payment cards: issuer's prefix, length and Luhn",
    CARD_CODE: "CVV, CVC and what a magnetic stripe holds after the card's number",
    ID_ES: "Spain: DNI and NIE, with check letter",
    ID_DE: "Germany: Steuer-ID, with check digit",
    ID_FR: "France: NIR (numéro de sécurité sociale), with check digits",
    ID_IT: "Italy: codice fiscale, with check letter",
    ID_PT: "Portugal: NIF, with check digit and a word that says so",
    ID_UK: "United Kingdom: National Insurance and NHS number",
    ID_US: "United States: Social Security number and ITIN",
    PHONE: "telephone numbers, international, or national in a usual grouping or after such a word",
    IP: "IP addresses, version 4 and 6",
}
"""Kind to description; the order is the rank: where two overlap, the earlier one gives the name."""

SECRETS: Final = (PRIVATE_KEY, JWT, API_KEY, PASSWORD)
"""What opens something: of no use in an audit log, and harmful in one."""

NATIONAL_IDS: Final = (ID_ES, ID_DE, ID_FR, ID_IT, ID_PT, ID_UK, ID_US)
FINANCIAL: Final = (CARD, CARD_CODE, IBAN)

GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "all": tuple(KINDS),
    "secrets": SECRETS,
    "national_id": NATIONAL_IDS,
    "financial": FINANCIAL,
    "personal": (EMAIL, PHONE, IP, *NATIONAL_IDS, *FINANCIAL),
}
"""Names under which several kinds are set at once."""

RANK: Final[dict[str, int]] = {kind: rank for rank, kind in enumerate(KINDS)}

Span = tuple[int, int, str]
"""Start and end (exclusive) in the text, and the kind."""
