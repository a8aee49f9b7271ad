"""Reading the fields of a form: texts, so many, so long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from affidavit.console.doors import Refusal

if TYPE_CHECKING:
    from fastapi import Request

_MOST_FIELDS: Final = 100
_LONGEST: Final = 100_000


async def form_of(request: Request) -> dict[str, str]:
    """Give a form's fields; of several of one name the last. Files are left out.

    Raises Refusal where there are too many, or one is too long.
    """
    form = await request.form(max_fields=_MOST_FIELDS, max_files=1, max_part_size=_LONGEST)
    found = {name: value for name, value in form.multi_items() if isinstance(value, str)}
    if any(len(value) > _LONGEST for value in found.values()):
        raise Refusal(413, "Too large", f"A field may have {_LONGEST} characters. Shorten it.")
    return found
