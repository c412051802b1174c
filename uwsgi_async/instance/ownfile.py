"""Files that this instance has made and will remove: never another's, though it may have the same name by then.

What lives here: `OwnFile`. What does not: what is written into them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OwnFile:
    """A file that exists, known by its path, its inode and when it was written last (nanoseconds).

    ``modified``: None for one that others write.
    """

    path: str
    device: int
    inode: int
    modified: int | None

    @classmethod
    def of(cls, path: str, *, written: bool = False) -> OwnFile:
        """Return what is to be known of a file that was just made. Raises OSError when it is not there.

        ``written``: others write it.
        """
        status = os.lstat(path)
        return cls(os.path.abspath(path), status.st_dev, status.st_ino, None if written else status.st_mtime_ns)

    def is_there(self) -> bool:
        """Whether the file is still the same."""
        try:
            status = os.lstat(self.path)
        except OSError:
            return False
        same = (status.st_dev, status.st_ino) == (self.device, self.inode)
        return same and self.modified in (None, status.st_mtime_ns)

    def remove(self) -> None:
        """Remove the file if it is still the same. One that may not be removed is left: nobody can help it now."""
        try:
            if self.is_there():
                os.unlink(self.path)
        except OSError:
            return
