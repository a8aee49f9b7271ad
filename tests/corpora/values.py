"""Synthetic values with right check digits, each made by arithmetic of its own.

Nothing here uses the code that is tested: an error there must not be repeated here. Every value
is drawn at random; none belongs to a person.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.corpora.harmless import Harmless
from tests.corpora.keys import Keys
from tests.corpora.personal import Personal
from tests.corpora.telephones import Telephones


class Values(Personal, Telephones, Keys, Harmless):
    """Draws values; ``make("card_spaced")`` by name."""

    def make(self, name: str) -> str:
        """Draw one value."""
        made: Callable[[], str] = getattr(self, name)
        return made()
