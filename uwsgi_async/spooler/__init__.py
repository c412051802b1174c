"""The spooler: a queue of tasks that is a directory of files, in the form of real uWSGI's, so both serve one directory.

`task` is the bytes, `names` the file names, `decide` what becomes of a task: no I/O in these. `writing`, `claiming`,
`scanning`, `history` and `watching` touch the directory; `runner` runs tasks in an event loop. Source: uWSGI's
core/spooler.c and its page "The uWSGI Spooler".
"""
