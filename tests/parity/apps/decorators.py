"""uwsgidecorators: what each has decorated writes a line; a request calls a function and gets what it returned."""

import json
import os
import threading

import uwsgi
import uwsgidecorators
from uwsgidecorators import *  # noqa: F403 - as the documentation has it
from uwsgidecorators import cron, filemon, get_free_signal, harakiri, lock, postfork, rbtimer, signal, thread, timer

RAN = os.environ["RAN"]


def note(*words):
    with open(RAN, "ab", buffering=0) as file:
        file.write(" ".join(map(str, (*words, f"worker{uwsgi.worker_id()}"))).encode() + b"\n")


numbers = [get_free_signal()]


@timer(1)
def every_second(number):
    note("timer", number)


numbers.append(get_free_signal())


@rbtimer(1, target="worker2")
def every_second_too(number):
    note("rbtimer", number)


@timer(1, signum=50, target="workers")
def with_a_number(number):
    note("timer", number)


@cron(-1, -1, -1, -1, -1, target="worker1")
def every_minute(number):
    note("cron", number)


@filemon(RAN + ".watched", target="worker1")
def changed(number):
    note("filemon", number)


@signal(60, target="worker2")
def sixty(number):
    note("signal", number)


@signal(61)
def sixty_one(number):
    note("signal", number)


numbers.append(get_free_signal())


@postfork
def first():
    note("postfork", "first")


@postfork(2)
def in_the_second():
    note("postfork", "second")


@postfork
def last():
    note("postfork", "last")


@lock
def locked(*args, **kwargs):
    return [uwsgi.is_locked(), args, kwargs]


@lock
def locked_fails():
    raise RuntimeError("no luck")


in_thread = threading.Event()


@thread
def threaded(word):
    note("thread", word, threading.current_thread() is not threading.main_thread())
    in_thread.set()


@harakiri(30)
def quick(word):
    return word


@harakiri(1)
def slow():
    while True:
        pass


def call(name, *args):
    if name == "names":
        return sorted(word for word in dir(uwsgidecorators) if not word.startswith("_"))
    if name == "numbers":
        return numbers
    if name == "raise":
        return uwsgi.signal(*args)
    if name == "thread":
        returned = threaded(*args)
        return [in_thread.wait(10), returned.__name__]
    if name == "hooks":
        return [
            [hook, getattr(getattr(uwsgi, hook, None), "__name__", None)]
            for hook in ("post_fork_hook", "mule_msg_hook", "spooler")
        ]
    if name == "bound":
        same = ("every_second", "every_second_too", "every_minute", "changed", "sixty")
        return [type(globals()[each]).__name__ for each in same]
    if name == "fails":
        try:
            locked_fails()
        except RuntimeError:
            return [uwsgi.is_locked()]
    return globals()[name](*args)


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    words = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    return [json.dumps([call(*words), uwsgi.worker_id(), os.getpid()]).encode()]
