"""What a node is made of: its name, its cookie, epmd's port; and the claim on the name."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from uwsgi_async.erlang.settings import NodeClaim, NodeSettings, epmd_port, find_cookie
from uwsgi_async.errors import OptionError
from uwsgi_async.options.erlang import ErlangOptions


def of(name: str) -> NodeSettings:
    return NodeSettings.of(ErlangOptions(erlang=name, erlang_cookie="secret"))


def test_a_name_without_a_host_gets_that_of_this_machine_as_erl_does_for_sname() -> None:
    host = socket.gethostname().partition(".")[0]
    assert (of("web").name, of("web").host) == (f"web@{host}", host)


def test_a_name_with_a_host_stays_as_it_is() -> None:
    assert (of("web@10.0.0.1").name, of("web@10.0.0.1").host) == ("web@10.0.0.1", "10.0.0.1")


@pytest.mark.parametrize("name", ["@host", "web@", "a@b@c", "w" * 256])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match="erlang: a node is called name@host"):
        of(name)


@pytest.mark.parametrize("cookie", ["", "x" * 256, "a\nb", "ä"])
def test_what_is_no_cookie_is_refused_and_not_told(cookie: str) -> None:
    with pytest.raises(OptionError, match="1 to 255 printable ASCII characters") as caught:
        NodeSettings.of(ErlangOptions(erlang_cookie=cookie))
    assert not cookie or cookie not in str(caught.value)


@pytest.mark.parametrize(("mode", "is_taken"), [(0o400, True), (0o600, True), (0o640, False), (0o602, False)])
def test_the_cookies_file_is_taken_when_nobody_else_may_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, is_taken: bool
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / ".erlang.cookie"
    file.write_text("secret\n")
    file.chmod(mode)
    if is_taken:
        assert find_cookie() == "secret"
    else:
        with pytest.raises(OptionError, match="accessible by its owner only: chmod 600"):
            find_cookie()


def test_a_missing_cookie_is_told_with_both_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(OptionError, match=r"erlang-cookie, or in .*\.erlang\.cookie \(No such file"):
        find_cookie()


@pytest.mark.parametrize("text", ["", "0", "65536", "port", "-1"])
def test_a_port_of_epmd_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("ERL_EPMD_PORT", text)
    with pytest.raises(OptionError, match="ERL_EPMD_PORT"):
        epmd_port()


def test_the_port_of_epmd_is_erlangs_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ERL_EPMD_PORT", raising=False)
    assert epmd_port() == 4369
    monkeypatch.setenv("ERL_EPMD_PORT", "5000")
    assert epmd_port() == 5000


def test_without_an_option_there_is_no_claim() -> None:
    assert NodeClaim.create(ErlangOptions()) is None


def test_one_process_at_a_time_has_the_name() -> None:
    claim = NodeClaim.create(ErlangOptions(erlang="web", erlang_cookie="secret"))
    assert claim is not None
    try:
        assert claim.take()
        assert in_a_child(claim) == "refused"
        claim.give_back()
        assert in_a_child(claim) == "taken"
        assert claim.take()  # the child has ended
    finally:
        claim.close()


def test_a_node_without_a_name_has_nothing_to_take() -> None:
    claim = NodeClaim.create(ErlangOptions(erlang_cookie="secret"))
    assert claim is not None
    try:
        assert not claim.take()
        assert claim.settings.name == ""
    finally:
        claim.close()


def test_another_process_attaches_by_what_is_described() -> None:
    claim = NodeClaim.create(ErlangOptions(erlang="web@h", erlang_cookie="secret"))
    assert claim is not None
    try:
        assert NodeClaim.attach(claim.described()).settings == claim.settings
        assert claim.described()[0] in claim.fds
    finally:
        claim.close()


def in_a_child(claim: NodeClaim) -> str:
    child = os.fork()
    if not child:
        os._exit(0 if claim.take() else 1)
    _, status = os.waitpid(child, 0)
    return "refused" if status else "taken"
