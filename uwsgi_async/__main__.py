"""``python -m uwsgi_async`` is the command ``uwsgi-async``."""

import sys

from uwsgi_async.cli import main

sys.exit(main())
