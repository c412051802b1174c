import os
import select
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_async.errors import AddressError, BindError, OptionError
from uwsgi_async.instance.listeners import Listener, listeners_of, open_listener, systemd_fds
from uwsgi_async.wire.address import AbstractAddress, FdAddress, TcpAddress, UnixAddress, parse_address

ANY_PORT = TcpAddress("127.0.0.1", 0)


@pytest.fixture
def opened() -> Iterator[list[Listener]]:
    listeners: list[Listener] = []
    yield listeners
    for listener in listeners:
        listener.close()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A short path, whatever the length of tmp_path."""
    monkeypatch.chdir(tmp_path)
    return "app.sock"


def assert_reachable(listener: Listener) -> None:
    with socket.socket(listener.sock.family) as client:
        client.connect(listener.sock.getsockname())


def test_port_0_gets_a_port_which_name_and_url_tell(opened: list[Listener]) -> None:
    listener = open_listener(ANY_PORT, protocol="http", backlog=5)
    opened.append(listener)
    port = listener.sock.getsockname()[1]
    assert port > 0
    assert listener.name == f"127.0.0.1:{port}"
    assert listener.url == f"http://127.0.0.1:{port}"
    assert listener.protocol == "http"
    assert_reachable(listener)


def test_a_listening_socket_is_non_blocking_and_not_inherited_and_reuses_its_address(opened: list[Listener]) -> None:
    opened.append(open_listener(ANY_PORT, protocol="http", backlog=5))
    sock = opened[0].sock
    assert not sock.getblocking()
    assert not sock.get_inheritable()
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)


def test_no_host_means_every_ipv4_address_and_the_url_is_still_one_to_connect_to(opened: list[Listener]) -> None:
    opened.append(open_listener(TcpAddress("", 0), protocol="http", backlog=5))
    port = opened[0].sock.getsockname()[1]
    assert opened[0].name == f"0.0.0.0:{port}"
    assert opened[0].url == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("host", ["::1", "::"])
def test_ipv6_addresses_are_in_brackets(host: str, opened: list[Listener]) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    opened.append(open_listener(TcpAddress(host, 0), protocol="http", backlog=5))
    port = opened[0].sock.getsockname()[1]
    assert opened[0].name == f"[{host}]:{port}"
    assert opened[0].url == f"http://[::1]:{port}"


def test_a_uwsgi_listener_has_no_url(opened: list[Listener]) -> None:
    opened.append(open_listener(ANY_PORT, protocol="uwsgi", backlog=5))
    assert opened[0].url is None


def test_a_port_in_use_is_a_bind_error_that_says_so(opened: list[Listener]) -> None:
    opened.append(open_listener(ANY_PORT, protocol="http", backlog=5))
    with pytest.raises(BindError, match="Address already in use; something else listens there") as caught:
        open_listener(parse_address(opened[0].name), protocol="http", backlog=5)
    assert opened[0].name in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.errno == caught.value.__cause__.errno


def test_an_address_of_another_machine_is_a_bind_error() -> None:
    with pytest.raises(BindError, match="no network interface of this machine"):
        open_listener(TcpAddress("192.0.2.1", 0), protocol="http", backlog=5)


def test_a_host_without_address_is_a_bind_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_found(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", not_found)
    with pytest.raises(BindError, match=r"the host 'no-such-host\.invalid' is not known"):
        open_listener(TcpAddress("no-such-host.invalid", 0), protocol="http", backlog=5)


def test_a_host_that_cannot_be_a_name_is_a_bind_error() -> None:
    with pytest.raises(BindError, match="is not known"):
        open_listener(TcpAddress("a" * 100, 0), protocol="http", backlog=5)


def test_a_unix_listener_is_named_by_its_path_and_its_file_goes_with_it(path: str) -> None:
    listener = open_listener(UnixAddress(path), protocol="http", backlog=5)
    assert listener.name == path
    assert listener.url is None
    assert_reachable(listener)
    listener.close()
    assert not os.path.lexists(path)
    listener.close()


def test_a_listener_of_a_relative_path_removes_its_file_from_any_directory(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = open_listener(UnixAddress(path), protocol="http", backlog=5)
    monkeypatch.chdir("/")
    listener.close()
    assert not (tmp_path / path).exists()


def test_close_leaves_a_file_that_is_not_its_own(path: str) -> None:
    listener = open_listener(UnixAddress(path), protocol="http", backlog=5)
    os.rename(path, "kept")  # so that its inode is not given to another
    Path(path).write_text("another's")
    listener.close()
    assert Path(path).read_text() == "another's"


def test_a_process_that_did_not_make_the_file_leaves_it(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = open_listener(UnixAddress(path), protocol="http", backlog=5)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    listener.close()
    assert os.path.lexists(path)


def test_a_stale_socket_file_is_replaced(path: str, opened: list[Listener]) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    opened.append(open_listener(UnixAddress(path), protocol="http", backlog=5))
    assert_reachable(opened[0])


def test_a_socket_file_where_somebody_listens_is_left_alone(path: str, opened: list[Listener]) -> None:
    opened.append(open_listener(UnixAddress(path), protocol="http", backlog=5))
    with pytest.raises(BindError, match="something else listens there"):
        open_listener(UnixAddress(path), protocol="http", backlog=5)
    assert_reachable(opened[0])


def test_a_listener_with_a_full_queue_still_listens(path: str, opened: list[Listener]) -> None:
    opened.append(open_listener(UnixAddress(path), protocol="http", backlog=0))
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.connect(path)
        with pytest.raises(BindError, match="something else listens there"):
            open_listener(UnixAddress(path), protocol="http", backlog=5)


def test_a_file_that_is_no_socket_is_left_alone(path: str) -> None:
    Path(path).write_text("data")
    with pytest.raises(BindError, match="a file that is not a socket is there"):
        open_listener(UnixAddress(path), protocol="http", backlog=5)
    assert Path(path).read_text() == "data"


def test_a_missing_directory_is_a_bind_error_that_says_so(path: str) -> None:
    with pytest.raises(BindError, match="the directory does not exist"):
        open_listener(UnixAddress(f"missing/{path}"), protocol="http", backlog=5)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_permission_is_a_bind_error_that_says_so(path: str, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with pytest.raises(BindError, match="may not write in its directory"):
        open_listener(UnixAddress(f"closed/{path}"), protocol="http", backlog=5)


@pytest.mark.parametrize(("address", "hint"), [(ANY_PORT, "below 1024"), (AbstractAddress("a"), "this user may not")])
def test_permission_denied_is_a_bind_error_that_says_what_to_do(
    address: TcpAddress | AbstractAddress, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(BindError, match=hint):
        open_listener(address, protocol="http", backlog=5)


def test_a_path_too_long_for_the_kernel_is_an_address_error() -> None:
    with pytest.raises(AddressError, match="at most 107 bytes, not 108"):
        open_listener(UnixAddress("a" * 108), protocol="http", backlog=5)


def test_chmod_is_the_mode_of_the_socket_file(path: str, opened: list[Listener]) -> None:
    opened.append(open_listener(UnixAddress(path), protocol="http", backlog=5, chmod="601"))
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o601


@pytest.mark.parametrize("chmod", ["", "9", "rw", "-1", "77777"])
def test_a_chmod_that_is_no_mode_is_refused_before_anything_is_made(chmod: str, path: str) -> None:
    with pytest.raises(OptionError, match="expected a mode in octal"):
        open_listener(UnixAddress(path), protocol="http", backlog=5, chmod=chmod)
    assert not os.path.lexists(path)


def test_a_listen_that_fails_leaves_no_socket_and_no_file(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(socket.socket, "listen", refuse)
    with pytest.raises(BindError, match=r"Cannot allocate memory$"):
        open_listener(UnixAddress(path), protocol="http", backlog=5)
    assert not os.path.lexists(path)


def test_an_abstract_listener_is_named_with_an_at(opened: list[Listener]) -> None:
    opened.append(open_listener(AbstractAddress(f"uwsgi-async-{os.getpid()}"), protocol="uwsgi", backlog=5))
    assert opened[0].name == f"@uwsgi-async-{os.getpid()}"
    assert_reachable(opened[0])


def test_a_listening_socket_can_be_passed_by_its_fd(opened: list[Listener]) -> None:
    fd = socket.create_server(("127.0.0.1", 0)).detach()
    opened.append(open_listener(FdAddress(fd), protocol="http", backlog=5))
    assert opened[0].sock.fileno() == fd
    assert not opened[0].sock.getblocking()
    assert opened[0].url == f"http://{opened[0].name}"
    assert_reachable(opened[0])


def test_the_file_of_a_passed_unix_socket_stays(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as passed:
        passed.bind(path)
        passed.listen()
        fd = passed.detach()
    listener = open_listener(FdAddress(fd), protocol="uwsgi", backlog=5)
    assert listener.name == path
    listener.close()
    assert os.path.lexists(path)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_passed_socket_that_does_not_listen_is_refused_and_stays_open(kind: int) -> None:
    with socket.socket(socket.AF_INET, kind) as sock:
        with pytest.raises(BindError, match="expected a listening stream socket"):
            open_listener(FdAddress(sock.fileno()), protocol="http", backlog=5)
        os.fstat(sock.fileno())


def test_a_passed_fd_that_is_no_socket_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, pytest.raises(BindError, match="is not a socket"):
        open_listener(FdAddress(file.fileno()), protocol="http", backlog=5)


def test_an_fd_that_is_not_open_is_refused() -> None:
    with pytest.raises(BindError, match="no such file descriptor"):
        open_listener(FdAddress(2**31 - 1), protocol="http", backlog=5)


def test_systemds_fds_begin_at_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "2")
    assert systemd_fds() == (3, 4)


@pytest.mark.parametrize(
    ("pid", "count"), [(None, "1"), ("1", "1"), ("self", None), ("self", "x"), ("self", "-1"), ("self", "0")]
)
def test_systemd_passed_nothing_unless_both_variables_say_so(
    pid: str | None, count: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("LISTEN_PID", str(os.getpid()) if pid == "self" else pid), ("LISTEN_FDS", count)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert systemd_fds() == ()


def test_sockets_that_share_an_address_divide_its_connections(opened: list[Listener]) -> None:
    opened.append(open_listener(ANY_PORT, protocol="http", backlog=50, share=1))
    opened.append(open_listener(parse_address(opened[0].name), protocol="http", backlog=50, share=2))
    assert opened[0].name == opened[1].name
    assert [listener.share for listener in opened] == [1, 2]
    clients = [socket.create_connection(opened[0].sock.getsockname()) for _ in range(40)]
    accepted = []
    for listener in opened:
        count = 0
        while select.select([listener.sock], [], [], 0)[0]:
            listener.sock.accept()[0].close()
            count += 1
        accepted.append(count)
    for client in clients:
        client.close()
    assert sum(accepted) == 40
    assert min(accepted) > 0


def test_a_unix_socket_is_not_shared(path: str, opened: list[Listener]) -> None:
    opened.append(open_listener(UnixAddress(path), protocol="http", backlog=5, share=1))
    assert opened[0].share == 0


@given(st.integers(1, 20), st.integers(1, 20))
def test_every_share_has_a_worker_and_every_worker_a_share(shares: int, workers: int) -> None:
    listeners = [Listener(None, "http", "", None, share=share) for share in range(1, shares + 1)]  # type: ignore[arg-type]
    common = Listener(None, "uwsgi", "", None)  # type: ignore[arg-type]
    served = [listeners_of(worker, workers, [common, *listeners]) for worker in range(1, workers + 1)]
    assert all(common in own and len(own) >= 2 for own in served)
    assert {listener.share for own in served for listener in own} == set(range(shares + 1))
    if workers >= shares:
        assert all(len(own) == 2 for own in served)
