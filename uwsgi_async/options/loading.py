"""The options of apps and files: what is loaded, how it is called, what is sent without an app.

What lives here: three subsystems of `settings.Options`. What does not: all other ones (`settings`).
"""

from dataclasses import dataclass
from typing import Literal

from uwsgi_async.options.declare import option
from uwsgi_async.options.forms import LIFETIME, MOUNT, PATTERN, SERVE_MODE, STATIC_MAP, TYPE_LIFETIME, VARIABLE

AppKind = Literal["auto", "async", "sync", "asgi"]
LifespanMode = Literal["auto", "on", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """Which apps, and what there is before them. For `instance.loader` and `instance.surroundings`."""

    module: str | None = option(None, "module", "w", "wsgi", help="load the app from this module (module:callable)")
    wsgi_file: str | None = option(None, "wsgi-file", "file", help="load the app from this Python file")
    callable: str = option("application", "callable", help="name of the app in its module or file")
    mount: tuple[str, ...] = option(
        (),
        "mount",
        "worker-mount",
        repeat=True,
        form=MOUNT,
        help="load a further app, a file or module:callable, for requests with this SCRIPT_NAME",
    )
    need_app: bool = option(
        True, "need-app", help="an app or import that fails ends the start; false: go on without it, as uWSGI does"
    )
    imports: tuple[str, ...] = option(
        (),
        "import",
        "pyimport",
        "py-import",
        "python-import",
        repeat=True,
        help="import this module or file before the apps",
    )
    shared_imports: tuple[str, ...] = option(
        (),
        "shared-import",
        "shared-pyimport",
        "shared-py-import",
        "shared-python-import",
        repeat=True,
        help="the same, and once for all workers also with lazy-apps",
    )
    pythonpath: tuple[str, ...] = option(
        (),
        "pythonpath",
        "python-path",
        "pp",
        repeat=True,
        help="look for modules in this directory (or glob) first; of several, in the last one first",
    )
    home: str | None = option(
        None, "home", "virtualenv", "venv", "pyhome", "H", help="use the libraries of this virtual environment"
    )
    pyargv: str = option("", "pyargv", help="arguments for the apps, separated by blanks: sys.argv[1:]")
    chdir: str | None = option(None, "chdir", help="change to this directory before sockets are opened and apps loaded")
    chdir2: str | None = option(None, "chdir2", help="change to this directory when the apps are loaded")
    force_cwd: str | None = option(
        None, "force-cwd", help="read the configuration from this directory at a reload, not from that of the start"
    )
    env: tuple[str, ...] = option(
        (),
        "env",
        "unenv",
        repeat=True,
        form=VARIABLE,
        help="set NAME=VALUE in the environment; a NAME alone (as of unenv) is removed from it",
    )
    envdir: tuple[str, ...] = option(
        (), "envdir", repeat=True, help="set a variable for each file in this directory; an empty file removes its one"
    )

    def names_an_app(self) -> bool:
        """Whether any option says where an app is."""
        return bool(self.module or self.wsgi_file or self.mount)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppOptions:
    """How apps are called. For `instance.calling` and `handlers`."""

    threads: int = option(0, "threads", help="run sync apps in this many threads instead of in the cores", minimum=0)
    app_kind: AppKind = option(  # noqa: RUF009 - it only describes a field
        "auto", "app-kind", help="how the app is called: as sync or async WSGI, or as ASGI"
    )
    lifespan: LifespanMode = option(  # noqa: RUF009
        "auto", "lifespan", help="let ASGI apps begin and end with their process; on: one that cannot is not served"
    )
    manage_script_name: bool = option(
        False, "manage-script-name", help="find SCRIPT_NAME by the beginning of the path, and take it from PATH_INFO"
    )
    ignore_script_name: bool = option(
        False, "ignore-script-name", help="do not choose the app by SCRIPT_NAME, but by UWSGI_APPID alone"
    )
    no_default_app: bool = option(
        False, "no-default-app", help="a request that no mount fits is answered with 500, not given to the first app"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticOptions:
    """Files that are sent without an app. For `handlers.static`."""

    check_static: tuple[str, ...] = option(
        (), "check-static", "static-check", repeat=True, help="send a file of this directory if PATH_INFO names one"
    )
    static_map: tuple[str, ...] = option(
        (),
        "static-map",
        repeat=True,
        form=STATIC_MAP,
        help="for a path below the left side send what its rest names in the directory, or the file, at the right side",
    )
    static_map2: tuple[str, ...] = option(
        (), "static-map2", repeat=True, form=STATIC_MAP, help="the same, but the whole path names the file"
    )
    static_index: tuple[str, ...] = option(
        (), "static-index", repeat=True, help="if a directory is asked for, send this file in it"
    )
    static_skip_ext: tuple[str, ...] = option(
        (), "static-skip-ext", repeat=True, help="never send a file whose name ends so, such as .php"
    )
    static_safe: tuple[str, ...] = option(
        (), "static-safe", repeat=True, help="symbolic links may lead into this directory too"
    )
    mimefile: tuple[str, ...] = option(
        (),
        "mimefile",
        "mime-file",
        repeat=True,
        help="read content types from this file in the format of mime.types; /etc/mime.types when none is given",
    )
    file_serve_mode: str | None = option(
        None,
        "file-serve-mode",
        "fileserve-mode",
        form=SERVE_MODE,
        help="let the web server in front send static files: name them in X-Sendfile, or in X-Accel-Redirect for nginx",
    )
    xsendfile_path: tuple[str, ...] = option(
        (), "xsendfile-path", repeat=True, help="send a file of this directory that an app names in X-Sendfile"
    )
    honour_range: bool = option(True, "honour-range", help="send a part of a file to who asks for it (Range)")
    static_expires: tuple[str, ...] = option(
        (), "static-expires", repeat=True, form=LIFETIME, help="Expires after seconds for files whose path matches"
    )
    static_expires_mtime: tuple[str, ...] = option(
        (), "static-expires-mtime", repeat=True, form=LIFETIME, help="the same, from the file's last change on"
    )
    static_expires_path_info: tuple[str, ...] = option(
        (), "static-expires-path-info", repeat=True, form=LIFETIME, help="Expires after seconds where PATH_INFO matches"
    )
    static_expires_path_info_mtime: tuple[str, ...] = option(
        (),
        "static-expires-path-info-mtime",
        repeat=True,
        form=LIFETIME,
        help="the same, from the file's last change on",
    )
    static_expires_uri: tuple[str, ...] = option(
        (), "static-expires-uri", repeat=True, form=LIFETIME, help="Expires after seconds where REQUEST_URI matches"
    )
    static_expires_uri_mtime: tuple[str, ...] = option(
        (), "static-expires-uri-mtime", repeat=True, form=LIFETIME, help="the same, from the file's last change on"
    )
    static_expires_type: tuple[str, ...] = option(
        (), "static-expires-type", repeat=True, form=TYPE_LIFETIME, help="Expires after seconds for a content type"
    )
    static_expires_type_mtime: tuple[str, ...] = option(
        (),
        "static-expires-type-mtime",
        repeat=True,
        form=TYPE_LIFETIME,
        help="the same, from the file's last change on",
    )
    static_gzip: tuple[str, ...] = option(
        (),
        "static-gzip",
        repeat=True,
        form=PATTERN,
        help="send FILE.br or FILE.gz, if there, to who accepts it, for files whose path matches",
    )
    static_gzip_all: bool = option(False, "static-gzip-all", help="the same for all files")
    static_gzip_dir: tuple[str, ...] = option(
        (), "static-gzip-dir", "static-gzip-prefix", repeat=True, help="the same for files whose path begins so"
    )
    static_gzip_ext: tuple[str, ...] = option(
        (), "static-gzip-ext", "static-gzip-suffix", repeat=True, help="the same for files whose path ends so"
    )

    check_static_docroot: bool = option(
        False, "check-static-docroot", help="the same as check-static for the directory that the front end names"
    )

    def serves_files(self) -> bool:
        """Whether any option says where files are."""
        return bool(self.check_static or self.static_map or self.static_map2 or self.check_static_docroot)
