"""A Django project in one file, with the parts that most have: sessions, authentication, templates, the ORM."""

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.template import engines
from django.urls import path

settings.configure(
    ROOT_URLCONF=__name__,
    SECRET_KEY="for benchmarks",
    ALLOWED_HOSTS=["*"],
    LOGGING_CONFIG=None,
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
    ],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
)
django.setup()


def page(request):
    template = engines["django"].from_string("{% for n in numbers %}<li>{{ n }}</li>{% endfor %}")
    return HttpResponse(template.render({"numbers": range(20)}, request))


urlpatterns = [path("", page)]
application = get_wsgi_application()
