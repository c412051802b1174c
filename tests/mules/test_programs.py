"""What each mule runs: the order of the options decides about the numbers, as in uWSGI."""

from __future__ import annotations

import pytest

from uwsgi_async.options.mules import MuleOptions, farms, programs


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (("mule=a.py", "mules=2", "mule=b:c"), ("a.py", "", "", "b:c")),
        (("mules=2", "mule=b:c", "mule=a.py"), ("", "", "b:c", "a.py")),
        ((), ("a.py", "b:c", "", "")),
        (("mules=3", "mule=a.py"), ("a.py", "b:c", "", "")),  # not what the options say
    ],
)
def test_numbers_follow_what_was_read_when_it_says_the_same(read: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert programs(MuleOptions(mule=("a.py", "b:c"), mules=(2,)), read) == expected


def test_a_farm_names_each_mule_once() -> None:
    assert farms(MuleOptions(farm=("web:2,1,2", "other:3"))) == {"web": (2, 1), "other": (3,)}
