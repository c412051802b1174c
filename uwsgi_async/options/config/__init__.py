"""Config files as uWSGI has them: from a command line, the environment and files to one ordered list of entries.

`engine.read` is the door. See docs/design.md, "options/config".
"""
