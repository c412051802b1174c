"""What an operator does with a running instance from a shell: ``uwsgi-async top``, ``ps``, ``reload`` and ``stop``."""

from typing import Final

COMMANDS: Final = ("top", "ps", "reload", "stop", "--connect-and-read", "--reload", "--stop")
"""The first words that are for `commands.main`. Those with dashes are uWSGI's, and take one value."""
