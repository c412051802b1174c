"""What an operator does from a shell: ``uwsgi-async top``, ``ps``, ``reload``, ``stop``, and ``spool``."""

from typing import Final

COMMANDS: Final = ("top", "ps", "reload", "stop", "spool", "--connect-and-read", "--reload", "--stop")
"""The first words that are for `commands.main`. Those with dashes are uWSGI's, and take one value."""
