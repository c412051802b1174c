"""A Falcon app with a form, an upload, a stream and an error."""

import falcon


class Form:
    def on_post(self, request, response):
        response.text = "hello " + request.get_media()["name"]


class Upload:
    def on_post(self, request, response):
        for part in request.get_media():
            response.text = f"{part.filename} {len(part.stream.read())}"


class Stream:
    def on_get(self, request, response):
        response.stream = (b"x" * 1000 for _ in range(1000))


class Error:
    def on_get(self, request, response):
        raise RuntimeError("the view's error")


application = falcon.App()
for path, resource in (("/form", Form()), ("/upload", Upload()), ("/stream", Stream()), ("/error", Error())):
    application.add_route(path, resource)
