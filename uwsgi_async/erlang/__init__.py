"""The Erlang node: messages and calls between this instance and nodes of Erlang's, over its distribution protocol.

What lives here: the values that Erlang has and Python has not. What does not: the functions (`api.erlang`). Needs the
extra ``erlang``, which is asked for when the first term is made or read.
"""

from uwsgi_async.erlang.values import BitString, ErlangString, Fun, ImproperList, Pid, Port, Reference

__all__ = ["BitString", "ErlangString", "Fun", "ImproperList", "Pid", "Port", "Reference"]
