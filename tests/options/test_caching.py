"""The words of --cache2: what they mean, and which make no sense."""

from __future__ import annotations

import pytest

from tests.state.cache.making import made
from uwsgi_async.errors import OptionError
from uwsgi_async.options import caching as spec_module
from uwsgi_async.options.caching import CacheSpec, check_room, from_plain, parse_spec, to_plain
from uwsgi_async.options.commandline import check


def test_defaults_are_uwsgis() -> None:
    spec = parse_spec("name=pages,items=100")
    assert (spec.blocks, spec.blocksize, spec.keysize, spec.largest_value, spec.limit) == (100, 65536, 2048, 65536, 99)
    assert spec.swept


@pytest.mark.parametrize(
    ("alias", "field"),
    [
        ("maxitems", "items"),
        ("max_items", "items"),
        ("max-items", "items"),
        ("key_size", "keysize"),
        ("hash_size", "hashsize"),
        ("storesync", "store_sync"),
    ],
)
def test_uwsgis_aliases_mean_the_same(alias: str, field: str) -> None:
    assert getattr(parse_spec(f"name=x,items=9,{alias}=7"), field) == 7


@pytest.mark.parametrize("flag", ["bitmap", "purge_lru", "lru", "lazy_expire", "lazy", "clear_on_full", "ignore_full"])
@pytest.mark.parametrize("suffix", ["", "=1", "=true"])
def test_a_flag_needs_no_value(flag: str, suffix: str) -> None:
    spec = parse_spec(f"name=x,items=9,{flag}{suffix}")
    assert getattr(spec, {"lru": "purge_lru", "lazy": "lazy_expire"}.get(flag, flag)) is True


def test_a_flag_of_0_is_off() -> None:
    assert parse_spec("name=x,items=9,bitmap=0").bitmap is False


def test_a_bitmap_takes_values_of_several_blocks() -> None:
    assert parse_spec("name=x,items=9,blocks=20,blocksize=10,bitmap").largest_value == 200


def test_a_comma_may_be_escaped() -> None:
    assert parse_spec(r"name=x,items=9,store=/tmp/a\,b").store == "/tmp/a,b"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("items=5", "name=... is missing"),
        ("name=x", "items=... is missing"),
        ("name=,items=5", "name=... is missing"),
        ("name=x,items=0", "items=0 is not from 2"),
        ("name=x,items=1", "one item would store nothing"),
        ("name=x,items=abc", "items takes a whole number, but 'abc' came"),
        ("name=x,items=-5", "items takes a number from 0, but '-5' came"),
        ("name=x,items=10,blocksize=1k", "blocksize takes a whole number"),
        ("name=x,items=10,blocksize=0", "blocksize=0 is not from 1"),
        ("name=x,items=10,keysize=65535", "keysize=65535 is not from 1 to 65534"),
        ("name=x,items=10,blocks=5", "blocks=5 must be at least items=10"),
        ("name=x,items=10,blokcsize=5", "there is no 'blokcsize'; did you mean 'blocksize'?"),
        ("name=x,items=10,sync=1.2.3.4:5", "another form"),
        ("name=x,items=10,udp=1.2.3.4", "expected host:port for UDP"),
        ("name=x,items=10,nodes=a:1;b:65536", "expected host:port for UDP, but 'b:65536' came"),
        ("name=x@y,items=10", "'@' means a cache of another instance"),
        ("name=x,items=10,store", "store needs a value"),
        ("name=x,items=99999999999999999999999", "takes a whole number"),
        ("name=x,items=10,math_initial=9223372036854775808", "not a signed number of 64 bits"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_spec(text)
    assert sentence in str(caught.value)
    assert text in str(caught.value)


def test_a_cache_larger_than_the_memory_is_refused() -> None:
    with pytest.raises(OptionError, match=r"cache 'x' takes 6.158 TiB .*the memory is .* choose a smaller items"):
        check_room([parse_spec("name=x,items=100000000")])


def test_caches_that_are_together_larger_than_the_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spec_module, "memory_size", lambda: 100 << 20)
    with pytest.raises(OptionError, match=r"cache 'y' takes .* with the caches before it"):
        check_room([parse_spec(f"name={name},items=1000") for name in "xy"])


def test_a_store_larger_than_its_disk_is_refused() -> None:
    with pytest.raises(OptionError, match="the disk of its store '/dev/shm/x' has"):
        check_room([parse_spec("name=x,items=100000000,store=/dev/shm/x")])


def test_a_store_in_no_directory_is_refused() -> None:
    with pytest.raises(OptionError, match="cannot be made: No such file"):
        check_room([parse_spec("name=x,items=10,store=/no/where/x")])


def test_two_caches_of_one_name_are_refused() -> None:
    with pytest.raises(OptionError, match="a name must be unique"), made("name=x,items=5", "name=x,items=6"):
        pass


def test_two_caches_with_one_store_are_refused() -> None:
    with pytest.raises(OptionError, match="cannot have the same store"):
        with made("name=x,items=5,store=/tmp/s", "name=y,items=5,store=/tmp/s"):
            pass


def test_the_old_option_makes_a_cache_named_default_which_is_the_first() -> None:
    with made("name=x,items=5", cache=8, cache_blocksize=100, cache_use_last_modified=True) as caches:
        assert list(caches.by_name) == ["default", "x"]
        spec = caches.by_name["default"].spec
    assert (spec.items, spec.blocksize, spec.lastmod) == (8, 100, True)


def test_a_spec_travels_to_another_process() -> None:
    spec = parse_spec("name=x,items=5,bitmap,blocks=9,store=/tmp/x,expires=3")
    assert from_plain(to_plain(spec)) == spec
    assert isinstance(spec, CacheSpec)


def test_a_check_of_the_options_tells_what_is_wrong_with_a_cache() -> None:
    words = ["--http-socket", ":0", "--module", "app", "--cache2", "name=x,items=1"]
    text, would_start = check(words)
    assert not would_start
    assert "one item would store nothing" in text
