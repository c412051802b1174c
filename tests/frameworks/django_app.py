"""A Django project in one file, with a form, an upload, a stream and an error."""

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="for tests", ALLOWED_HOSTS=["*"], LOGGING_CONFIG=None)


def form(request):
    return HttpResponse("hello " + request.POST["name"])


def upload(request):
    file = request.FILES["file"]
    return HttpResponse(f"{file.name} {len(file.read())}")


def stream(request):
    return StreamingHttpResponse(b"x" * 1000 for _ in range(1000))


def error(request):
    raise RuntimeError("the view's error")


urlpatterns = [path("form", form), path("upload", upload), path("stream", stream), path("error", error)]
application = get_wsgi_application()
