"""An app that is a node among Erlang's: it calls them, is called by them, and counts for them.

$ epmd -daemon
$ erl -noinput -name shop@127.0.0.1 -setcookie secret &
$ uwsgi-async --http-socket :8000 --erlang web@127.0.0.1 --erlang-cookie secret examples/erlang_node/app.py
"""

from uwsgi_async import erlang_rpc, erlang_send_message
from uwsgi_async.decorators import erlang, rpc
from uwsgi_async.errors import NodeDownError

SHOP = "shop@127.0.0.1"

total = 0


@rpc("shout")
def shout(text):
    """In Erlang: rpc:call('web@127.0.0.1', any, shout, [<<"text">>])"""
    return text.upper() + b"!"


@erlang("counter")
async def count(message):
    """In Erlang: {counter, 'web@127.0.0.1'} ! {self(), 2}, and the sum so far comes back as {count, Sum}"""
    global total
    sender, number = message
    total += number
    await erlang_send_message(sender.node, sender, ("count", total))


async def application(environ, start_response):
    try:
        release = await erlang_rpc(SHOP, "erlang", "system_info", ["otp_release"])
    except NodeDownError as error:
        start_response("503 Service Unavailable", [("Content-Type", "text/plain")])
        return [f"{error}\n".encode()]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [SHOP.encode() + b" runs Erlang/OTP " + release + b"\n"]
