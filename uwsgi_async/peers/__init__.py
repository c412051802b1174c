"""What goes to other servers, and what they may call: functions by name, RPC, uwsgi messages, FastCGI.

No module of this package knows a request or a core. What comes in over the instance's own sockets: `cores.rpc`.
"""
