"""For code written for uWSGI: the ``uwsgi`` module, derived from `api`."""
