"""The program of a mule that takes no message."""

import threading

threading.Event().wait()
