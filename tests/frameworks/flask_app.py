"""A Flask app with a form, an upload, a stream and an error."""

import flask

application = flask.Flask(__name__)


@application.post("/form")
def form():
    return "hello " + flask.request.form["name"]


@application.post("/upload")
def upload():
    file = flask.request.files["file"]
    return f"{file.filename} {len(file.read())}"


@application.get("/stream")
def stream():
    return flask.Response((b"x" * 1000 for _ in range(1000)), mimetype="text/plain")


@application.get("/error")
def error():
    raise RuntimeError("the view's error")
