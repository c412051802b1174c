"""The Django project of `django_app`, served by ASGI: its plain views, and async ones."""

from collections.abc import AsyncIterator
from pathlib import Path

from django.core.asgi import get_asgi_application
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

from tests.frameworks import django_app


async def body(request):
    return HttpResponse(f"got {len(request.body)}")


async def chunks() -> AsyncIterator[bytes]:
    for _ in range(1000):
        yield b"x" * 1000


async def stream(request):
    return StreamingHttpResponse(chunks())


async def where(request):
    return HttpResponse(request.build_absolute_uri())


def file(request):
    return HttpResponse(Path(__file__).read_bytes())


def in_thread(request):
    import uwsgi

    uwsgi.async_sleep(0.001)
    return HttpResponse("from a thread")


django_app.urlpatterns += [
    path("body", body),
    path("async-stream", stream),
    path("where", where),
    path("file", file),
    path("thread", in_thread),
]
application = get_asgi_application()
