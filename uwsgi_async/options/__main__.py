"""Prints ``docs/options.md``: ``python -m uwsgi_async.options > docs/options.md``."""

import sys

from uwsgi_async.options.docs import render_docs

if __name__ == "__main__":
    sys.stdout.write(render_docs())
