"""A Bottle app with a form, an upload, a stream and an error."""

import bottle

application = bottle.Bottle()


@application.post("/form")
def form():
    return "hello " + bottle.request.forms.name


@application.post("/upload")
def upload():
    file = bottle.request.files.get("file")
    return f"{file.raw_filename} {len(file.file.read())}"


@application.get("/stream")
def stream():
    return (b"x" * 1000 for _ in range(1000))


@application.get("/error")
def error():
    raise RuntimeError("the view's error")
