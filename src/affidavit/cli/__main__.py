"""``python -m affidavit.cli``: the same as the command."""

from affidavit.cli import main

main()
