"""How many connections wait in the kernel for a listening socket.

What lives here: `backlog`. What does not: accepting them (`listener`). Linux tells it for TCP by getsockopt(2), for
UNIX sockets by sock_diag(7) only, which real uWSGI does not ask, so its queue of a UNIX socket is always 0.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Final

_TCP_INFO = struct.Struct("=8x6I")  # <linux/tcp.h>: of a listening socket tcpi_unacked and tcpi_sacked, the last two

# <linux/netlink.h>, <linux/sock_diag.h>, <linux/unix_diag.h>
_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST: Final = 1
_UDIAG_SHOW_RQLEN: Final = 0x10
_UNIX_DIAG_RQLEN: Final = 4
_NO_COOKIE: Final = 0xFFFFFFFF
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBHIIIII")
_ATTRIBUTE = struct.Struct("=HH")
_QUEUES = struct.Struct("=II")
_ANSWER_HEAD: Final = _HEADER.size + 16  # struct unix_diag_msg


def backlog(sock: socket.socket) -> tuple[int, int]:
    """Return how many connections wait to be accepted, and how many may; (0, 0) where the kernel does not tell."""
    try:
        if sock.family == socket.AF_UNIX:
            return _unix_backlog(os.fstat(sock.fileno()).st_ino)
        info = _TCP_INFO.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size))
    except (OSError, struct.error):
        return 0, 0
    return info[4], info[5]


def _unix_backlog(inode: int) -> tuple[int, int]:
    """Ask for one UNIX socket. Raises OSError where sock_diag may not be used, struct.error for a short answer."""
    request = _REQUEST.pack(
        socket.AF_UNIX, 0, 0, 0xFFFFFFFF, inode & 0xFFFFFFFF, _UDIAG_SHOW_RQLEN, _NO_COOKIE, _NO_COOKIE
    )
    header = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as netlink:
        netlink.send(header + request)
        answer = netlink.recv(4096)
    _, kind, *_ = _HEADER.unpack_from(answer)
    if kind != _SOCK_DIAG_BY_FAMILY:
        return 0, 0
    position = _ANSWER_HEAD
    while position < len(answer):
        length, attribute = _ATTRIBUTE.unpack_from(answer, position)
        if attribute == _UNIX_DIAG_RQLEN:
            waiting, most = _QUEUES.unpack_from(answer, position + _ATTRIBUTE.size)
            return waiting, most
        position += max((length + 3) & ~3, _ATTRIBUTE.size)
    return 0, 0
