"""What can be wrong with a proof, a signature or a text. No message holds a record's content.

They are raised where something is checked; nothing on the way of a record raises them.
"""

from __future__ import annotations


class IntegrityError(ValueError):
    """Something that should prove the log does not."""


class FormatError(IntegrityError):
    """A text is not in the one form it must have; the message names the line or the field."""


class ProofError(IntegrityError):
    """A proof does not lead from what it starts at to the root."""


class SignatureError(IntegrityError):
    """A signature is missing, or it is not by the key that it names."""


class BadBatch(IntegrityError):  # noqa: N818 - it names what is bad
    """A leaf batch is malformed, or its signature does not hold."""
