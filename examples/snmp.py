"""Numbers for the tools of network management: an app counts, and an agent beside it answers by SNMP.

python examples/snmp.py, and what it prints: snmpwalk -v2c -c public 127.0.0.1:PORT 1.3.6.1.4.1.35156.17
It needs the extra snmp. Stop it with Ctrl-C.
"""

import anyio

import uwsgi_async

HITS, INSIDE = 1, 40  # the app's own numbers: 1.3.6.1.4.1.35156.17.2.1 and .2.40


async def app(environ, start_response):
    uwsgi_async.snmp_incr_counter64(HITS)
    uwsgi_async.snmp_incr_gauge(INSIDE)
    try:
        await uwsgi_async.async_sleep(0.1)
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "8")])
        return [b"counted\n"]
    finally:
        uwsgi_async.snmp_decr_gauge(INSIDE)


async def main():
    async with uwsgi_async.run(app, http="127.0.0.1:0", snmp="127.0.0.1:0", snmp_community="public") as server:
        print(server.url)
        print(f"snmpwalk -v2c -c public {server.snmp} 1.3.6.1.4.1.35156.17")
        await anyio.sleep_forever()


if __name__ == "__main__":
    try:
        anyio.run(main)
    except KeyboardInterrupt:
        pass
