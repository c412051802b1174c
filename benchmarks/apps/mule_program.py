"""The program of a mule: it takes messages, and says when the last one has come."""

import os
import time

import uwsgi

while True:
    message = uwsgi.mule_get_msg()
    if message.startswith(b"end "):
        with open(os.path.join(os.environ["ANSWERS"], message[4:].decode()), "w") as file:
            file.write(repr(time.monotonic()))
