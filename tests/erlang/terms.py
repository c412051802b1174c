"""Terms for property tests: every type that there is, and when two of them are the same in Erlang's eyes."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from uwsgi_async.erlang import BitString, ErlangString, ImproperList, Pid, Port, Reference

WORD = st.integers(0, (1 << 32) - 1)
NODES = st.sampled_from(["shop@127.0.0.1", "other@host", "ä@ö"])
ATOMS = st.text(st.characters(exclude_categories=["Cs"]), max_size=255).filter(
    lambda text: text not in ("true", "false")
)


def pids() -> st.SearchStrategy[Pid]:
    # a creation of 0 means "this one" to Erlang, which then gives back its own
    return st.builds(
        Pid, NODES.filter(lambda name: "shop" not in name), st.integers(0, (1 << 28) - 1), WORD, WORD.filter(bool)
    )


def leaves() -> st.SearchStrategy[Any]:
    others = st.sampled_from(["other@host", "ä@ö"])
    return st.one_of(
        st.booleans(),
        st.none(),
        st.integers(),
        st.integers(-(1 << 3000), 1 << 3000),
        st.floats(allow_nan=False, allow_infinity=False),
        ATOMS,
        st.binary(),
        st.binary(min_size=1).map(ErlangString),
        pids(),
        st.builds(Port, others, st.integers(0, (1 << 64) - 1), WORD.filter(bool)),
        st.builds(Reference, others, st.tuples(st.integers(0, (1 << 18) - 1), WORD, WORD), WORD.filter(bool)),
        st.builds(_bits, st.binary(min_size=1), st.integers(1, 7)),
    )


def _bits(data: bytes, bits: int) -> BitString:
    """The bits of the last byte that do not count are zero."""
    return BitString(data[:-1] + bytes([data[-1] >> (8 - bits) << (8 - bits)]), bits)


def keys() -> st.SearchStrategy[Any]:
    """Keys that are no lists, and are all different in Python's eyes, too."""
    return st.one_of(ATOMS, st.binary(), st.tuples(st.integers(), ATOMS), pids())


def terms() -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves(),
        lambda inner: st.one_of(
            st.lists(inner, max_size=5),
            st.lists(inner, max_size=5).map(tuple),
            st.dictionaries(keys(), inner, max_size=5),
            st.builds(
                ImproperList,
                st.lists(inner, min_size=1, max_size=3).map(tuple),
                st.one_of(ATOMS, st.integers(), st.binary()),
            ),
        ),
        max_leaves=12,
    )


def in_erlangs_eyes(term: Any) -> Any:
    """The term with everything told apart that Erlang tells apart, and nothing else."""
    match term:
        case None | []:
            return ("list",)
        case bool() | str():
            return "atom", str(term).lower() if isinstance(term, bool) else term
        case float():
            return "float", term.hex() if term else "0"
        case ErlangString():
            return "list", *(("int", each) for each in term)
        case bytes():
            return "binary", bytes(term)
        case list():
            return "list", *map(in_erlangs_eyes, term)
        case Pid():
            return "pid", term.node, *term
        case tuple():
            return "tuple", *map(in_erlangs_eyes, term)
        case dict():
            return "map", frozenset((in_erlangs_eyes(key), in_erlangs_eyes(value)) for key, value in term.items())
        case ImproperList(items, tail):
            return "improper", *map(in_erlangs_eyes, items), in_erlangs_eyes(tail)
        case int():
            return "int", term
    return term
