"""A server inside a program of one's own: it runs as long as the `async with` block. Stop it with Ctrl-C.

python examples/embedded.py
"""

import anyio

import uwsgi_async


async def app(environ, start_response):
    await uwsgi_async.async_sleep(0.1)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "6")])
    return [b"hello\n"]


async def main():
    async with uwsgi_async.run(app, http="127.0.0.1:0", cores=100) as server:
        print(server.url)
        await anyio.sleep_forever()


if __name__ == "__main__":
    try:
        anyio.run(main)
    except KeyboardInterrupt:
        pass
