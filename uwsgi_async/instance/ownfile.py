"""Files that this instance has made and will remove: never another's, though it may have the same name by then.

What lives here: `OwnFile`. What does not: what is written into them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OwnFile:
    """A file that exists, known by its path, its inode and when it was written last (nanoseconds)."""

    path: str
    device: int
    inode: int
    modified: int

    @classmethod
    def of(cls, path: str) -> OwnFile:
        """Return what is to be known of a file that was just made. Raises OSError when it is not there."""
        status = os.lstat(path)
        return cls(os.path.abspath(path), status.st_dev, status.st_ino, status.st_mtime_ns)

    def remove(self) -> None:
        """Remove the file if it is still the same. One that may not be removed is left: nobody can help it now."""
        try:
            status = os.lstat(self.path)
            if (status.st_dev, status.st_ino, status.st_mtime_ns) == (self.device, self.inode, self.modified):
                os.unlink(self.path)
        except OSError:
            return
