# ruff: noqa: SIM905 - long lists of words read better as text
"""Words before a number that tell what it is. Numbers alone are ambiguous; their surroundings not.

One in ten numbers passes Luhn's rule, one in eleven that of a Portuguese NIF: order ids and
timestamps would be taken for cards and persons. So a weak shape counts only where a word near it,
in one of six languages, says what it is, and a strong one does not where a word denies it.
"""

from __future__ import annotations

import itertools
import re
from typing import Final

from affidavit.pipeline.redact import kinds
from affidavit.pipeline.redact.shadow import SEPARATORS

WINDOW: Final = 56
"""Characters before a number in which a word counts."""

BREAK: Final = SEPARATORS[1]
"""No context reaches over it; over the other separator, from a field's name to its value, it"
" does."""

DENIED: Final = "denied"
"""What words for ids, times and amounts speak for."""

FAR: Final = 99
"""Distance, in words, of what is not there."""

_DENIAL_REACH: Final = 4
"""Words back at which a denial still counts."""

# A star stands for any ending. Lower case; two-word terms are told by the rarer word.
_VOCABULARY: Final = {
    kinds.CARD: (
        "card cards cardnumber cardno creditcard debitcard tarjeta tarjetas visa mastercard amex "
        "diners discover maestro jcb unionpay credit debit cr\xe9dito d\xe9bito credito debito "
        "kredit* kartennummer karte carte carta cart\xe3o cartao pan cvv cvc cvv2 charge charged "
        "payment pago pagar pagamento pagamentos paiement zahlung bezahl* zahl* billing bill "
        "expiry expires exp cc"
    ),
    kinds.PHONE: (
        "tel telf tlf tfno telef* tel\xe9* t\xe9l* tele* phone* call calls called calling "
        "callback m\xf3vil movil mobil* mobile cell cellulare cellphone fax whatsapp sms "
        "texted ring ll\xe1m* llam* handy anruf* rufnummer rufen ruf r\xfcckruf* portable appel* "
        "joindre joignable chiam* telem\xf3vel telemovel ligue ligar liga contact contacto "
        "contactar kontakt dial reach erreich* bizum mob ph hotline voicemail localizable atien* "
        "signal telegram recapito numeri"
    ),
    kinds.ID_ES: "dni nie nif documento identidad identificaci* pasaporte nacional",
    kinds.ID_DE: "steuer* idnr tin tax finanzamt identifikationsnummer",
    kinds.ID_FR: (
        "nir s\xe9cu s\xe9curit\xe9 secu securite insee ss nss vitale assur* immatriculation"
        " social*"
    ),
    kinds.ID_PT: "nif contribuinte fiscal fiscais fatura factura tax vat iva",
    kinds.ID_UK: "nhs nino insurance ni patient nin",
    kinds.ID_US: "ssn social itin tax ss taxpayer ssns",
    DENIED: (
        "order orders ord orderid id ids oid uid ref refer* txn tx txid transac* trade trades "
        "tradeid ticket invoice factura rechnung* seq sequen* timestamp* ts epoch ms ns time "
        "trace traceid request requests pedido pedidos orden ordenes \xf3rdenes bestell* auftrag* "
        "commande ordine hash block nonce volum* isin sku track* serial batch lot build version "
        "versi\xf3n release qty quantity cantidad amount price prices balance supply notional "
        "shares fill fills filled execution exec snowflake cursor offset event session "
        "correlation message position positions cusip ean upc barcode figi lei contract contracts "
        "deal quote confirmation shipment parcel pid bytes size cap turnover liquidity seed close "
        "open high low precio importe betrag menge preis volumen volume prix montant prezzo valor "
        "row line case job claim part model policy docket article catalog* code codes item product"
    ),
}

_WORD: Final = re.compile(r"[a-z\xdf-\xf6\xf8-\xff]+")
_whole: dict[str, frozenset[str]] = {}
_begun: dict[str, frozenset[str]] = {}
for _kind, _words in _VOCABULARY.items():
    for _word in _words.split():
        _table = _begun if _word[-1] == "*" else _whole
        _word = _word.rstrip("*")
        _table[_word] = _table.get(_word, frozenset()) | {_kind}
_LENGTHS: Final = tuple(sorted({len(word) for word in _begun}, reverse=True))


def before(low: str, start: int) -> str:
    """Cut out what stands before a place, in lower case, as far as it counts as context."""
    window = low[max(0, start - WINDOW) : start]
    return window[window.rfind(BREAK) + 1 :]


def after(low: str, end: int) -> str:
    """Cut out a little of what follows, for words such as ``(mobile)``."""
    window = low[end : end + 24]
    stop = window.find(BREAK)
    return window if stop < 0 else window[:stop]


def tells(name: str) -> bool:
    """Whether a field's name says something about a number in it."""
    return any(word in _whole or _prefix(word) is not None for word in _WORD.findall(name))


_ALSO_TRADING: Final = frozenset(
    "call calls called calling signal ring reach contact contacto contactar kontakt".split()
)
_PERSONS: Final = frozenset(
    "me us him her them my your his our their at on back client customer support desk the mr mrs"
    " ms dr number".split()
)


def is_trading(window: str) -> bool:
    """Whether only words tell of a telephone that a trader uses otherwise: calls, signals."""
    words = _WORD.findall(window)
    return not any(
        kinds.PHONE in (_whole.get(word) or _prefix(word) or ())
        for word in words
        if word not in _ALSO_TRADING
    ) and not any(a in _ALSO_TRADING and b in _PERSONS for a, b in itertools.pairwise(words))


def distances(kind: str, window: str) -> tuple[int, int]:
    """Tell how many words back the next one stands that speaks for the kind, and that denies it."""
    spoken = denied = FAR
    for distance, word in enumerate(reversed(_WORD.findall(window))):
        meant = _whole.get(word) or _prefix(word)
        if meant is None:
            continue
        if kind in meant:
            spoken = min(spoken, distance)
        elif DENIED in meant and distance <= _DENIAL_REACH:
            denied = min(denied, distance)
    return spoken, denied


def _prefix(word: str) -> frozenset[str] | None:
    for length in _LENGTHS:
        meant = _begun.get(word[:length])
        if meant is not None:
            return meant
    return None
