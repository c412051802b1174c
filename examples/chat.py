"""A chat in the browser: what one says, everybody sees. Open it twice.

uwsgi-async --http-socket 127.0.0.1:8000 --async 1000 --wsgi-file examples/chat.py

The people of one process talk to each other. With several workers let a mule, a signal or Redis carry what is said.
"""

import anyio

import uwsgi_async

PAGE = """<!doctype html>
<meta charset="utf-8">
<title>Chat</title>
<style>
  body { font: 16px sans-serif; max-width: 40em; margin: 2em auto; }
  #said { list-style: none; padding: 0; min-height: 10em; }
  input { width: 80%; font: inherit; }
</style>
<h1>Chat <small id="state">connecting</small></h1>
<ul id="said"></ul>
<form id="form"><input id="text" autocomplete="off" autofocus> <button>Say</button></form>
<script>
  const socket = new WebSocket(location.href.replace(/^http/, "ws"));
  const state = document.getElementById("state");
  socket.onopen = () => state.textContent = "open";
  socket.onclose = event => state.textContent = "closed (" + event.code + ")";
  socket.onmessage = event => {
    const item = document.createElement("li");
    item.textContent = event.data;
    document.getElementById("said").append(item);
  };
  document.getElementById("form").onsubmit = event => {
    event.preventDefault();
    socket.send(document.getElementById("text").value);
    document.getElementById("text").value = "";
  };
</script>
"""

people: set[uwsgi_async.WebSocket] = set()


async def application(environ, start_response):
    if environ["PATH_INFO"] != "/":
        start_response("404 Not Found", [])
        return []
    if "HTTP_SEC_WEBSOCKET_KEY" in environ:
        await take_part(uwsgi_async.websocket())
        return []
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    return [PAGE.encode()]


async def take_part(person):
    await person.accept()
    people.add(person)
    try:
        async for text in person:
            await tell_everybody(text)
    finally:
        people.discard(person)


async def tell_everybody(text):
    # All at once: nobody waits for somebody else's slow line.
    async with anyio.create_task_group() as tasks:
        for person in people:
            tasks.start_soon(tell, person, text)


async def tell(person, text):
    try:
        await person.send(text)
    except uwsgi_async.WebSocketClosedError:
        pass  # gone meanwhile; its own request knows
