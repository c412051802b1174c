"""Where the log goes: files, sockets, syslog, and who writes what in an instance of several processes.

`loggers` are the places, `specs` makes them of options, `encoders` and `chain` stand before them, `logfile` is a
file that is reopened and rotated, `stdio` is what Python and C write to the standard streams, `process` puts it
together. What does not live here: what a line looks like, and which requests have one (`instance.requestlog`).
"""
