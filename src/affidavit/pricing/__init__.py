"""What calls cost: a price list, prices of one's own over it, and the arithmetic.

Pure but for :mod:`affidavit.pricing.load`. Nothing is downloaded: the list comes with the package
(see NOTICE), and its version and hash go into each record that was priced by it.
"""

from __future__ import annotations

from affidavit.pricing.book import (
    ESTIMATED,
    PRICED,
    REASONS,
    REPORTED,
    UNPRICED,
    Book,
    BookError,
    Model,
    Priced,
    price,
)
from affidavit.pricing.load import load, read_overrides
from affidavit.pricing.overrides import Override, Overrides
from affidavit.pricing.rates import PriceError, Rates
from affidavit.pricing.usage import STANDARD, Usage, usage_of

__all__ = [
    "ESTIMATED",
    "PRICED",
    "REASONS",
    "REPORTED",
    "STANDARD",
    "UNPRICED",
    "Book",
    "BookError",
    "Model",
    "Override",
    "Overrides",
    "PriceError",
    "Priced",
    "Rates",
    "Usage",
    "load",
    "price",
    "read_overrides",
    "usage_of",
]
