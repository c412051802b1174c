"""The command ``uwsgi-async``: parse, build, run. Nothing else lives here."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import anyio

from uwsgi_async.commands import COMMANDS
from uwsgi_async.compat.uwsgi_module import UwsgiModule
from uwsgi_async.errors import UsageError, UwsgiAsyncError
from uwsgi_async.handlers.mounts import Apps
from uwsgi_async.instance.checks import check_start
from uwsgi_async.instance.daemon import Launch, serve_as_init
from uwsgi_async.instance.loader import finish, load_apps, prepare
from uwsgi_async.instance.logs.process import ProcessLogs
from uwsgi_async.instance.logs.rotator import Rotator
from uwsgi_async.instance.master import run_master
from uwsgi_async.instance.names import MASTER, name_process
from uwsgi_async.instance.notify import Notifier
from uwsgi_async.instance.requestlog import logging_to
from uwsgi_async.instance.server import serve
from uwsgi_async.instance.surroundings import Surroundings
from uwsgi_async.options.commandline import CHECK, check, configure, say
from uwsgi_async.options.config.world import Machine
from uwsgi_async.options.forms import read_mode
from uwsgi_async.options.resolve import Resolution
from uwsgi_async.options.settings import Options

logger = logging.getLogger("uwsgi_async")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR2)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with ``argv`` (None: the process's arguments) and return the exit status.

    0: it has ended as it was told; else the status of the error, see `errors`.
    """
    launch = Launch()
    try:
        words = list(sys.argv[1:] if argv is None else argv)
        if words and words[0].partition("=")[0] in COMMANDS:
            from uwsgi_async.commands.main import run as run_command  # a server needs none of it

            return run_command(words)
        if words[:1] == [CHECK]:
            text, would_start = check(words[1:])
            say(text)
            return 0 if would_start else 1
        resolution = configure(words)
        with Surroundings() as surroundings:
            _start(resolution, words, surroundings, launch)
    except UwsgiAsyncError as error:
        sentences = "\n".join(f"uwsgi-async: {line}" for line in str(error).splitlines())
        print(sentences, file=sys.stderr)
        launch.report(error.exit_status, sentences)
        return error.exit_status
    return 0


def _start(resolution: Resolution, words: Sequence[str], surroundings: Surroundings, launch: Launch) -> None:
    """Run the instance until it ends."""
    assert resolution.options is not None
    options = surroundings.enter(resolution.options)
    system, process = options.system, options.process
    if system.umask is not None:
        os.umask(read_mode(system.umask))
    check_start(options)
    log = system.daemonize or system.daemonize2
    if log is not None:
        launch.go_to_background(log)
        options = _logging_to(log, options)
    with_master = process.master or process.processes > 1 or options.cheaper.adapts or options.reload.needs_master
    with_master = with_master or options.mules.needs_master or options.snmp.needs_master
    with_master = with_master or bool(options.spooler.spooler)  # a spooler is a process of its own, as in uWSGI
    if not with_master:
        serve_as_init()
    with logging_to(options) as logs:
        for remark in resolution.remarks:
            logger.warning("%s", remark)
        try:
            name_process(options.names, MASTER if with_master else "uWSGI worker 1")
            if with_master:
                read_again = partial(surroundings.enter_again, partial(_read_again, words, log))
                run_master(options, logs, read_again, launch)
            else:
                logs.read_streams()
                backend = "trio" if options.loop.trio else "asyncio"
                settings = {"use_uvloop": True} if options.loop.uvloop else {}
                anyio.run(_serve, options, logs, launch, backend=backend, backend_options=settings)
        except UwsgiAsyncError as error:
            if error.__cause__ is not None and not isinstance(error.__cause__, (OSError, KeyError)):
                logger.error("the cause:", exc_info=error.__cause__)
            if logs.is_elsewhere and log is None:  # `main` says it on standard error
                logger.error("%s", error)
            raise


def _logging_to(path: str, options: Options) -> Options:
    return replace(options, loggers=replace(options.loggers, logto=path))


def _read_again(words: Sequence[str], log: str | None) -> Options:
    """Return the options for a reload. ``log``: of an instance in the background. Raises `UsageError`."""
    try:
        resolution = configure(words, Machine(reload=True))
    except SystemExit as error:
        raise UsageError("the configuration says that nothing shall run (option exit)") from error
    for remark in resolution.remarks:
        logger.warning("%s", remark)
    assert resolution.options is not None
    return resolution.options if log is None else _logging_to(log, resolution.options)


async def _serve(options: Options, logs: ProcessLogs, launch: Launch) -> None:
    def load(module: UwsgiModule) -> Apps:
        if options.system.daemonize is not None:
            launch.report()  # the sockets are open
        prepare(options.load)
        apps = load_apps(options, module)
        finish(options.load)
        return apps

    notifier = Notifier.from_environment()
    with anyio.open_signal_receiver(*_SIGNALS) as signals:
        async with serve(load, options, local_stats=True) as server:
            for address in server.addresses:
                logger.info("*** uwsgi-async serves %s with %d cores ***", address, options.cores.cores)
            launch.report()
            notifier.ready(f"{options.cores.cores} cores serve")
            async with anyio.create_task_group() as tasks:
                rotator = Rotator(logs, options.loggers)
                tasks.start_soon(rotator.run)
                tasks.start_soon(notifier.feed_watchdog)
                async for number in signals:
                    if number != signal.SIGUSR2:
                        logger.info("%s received: finishing the running requests", signal.Signals(number).name)
                        notifier.stopping(f"{signal.Signals(number).name} received")
                        break
                    rotator.reopen()
                tasks.cancel_scope.cancel()
    logger.info("goodbye to uwsgi-async.")


if __name__ == "__main__":
    sys.exit(main())
