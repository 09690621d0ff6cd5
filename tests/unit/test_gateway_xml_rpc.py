"""XML-RPC: requests of any client, hostile documents, and answers that every parser can read."""

from typing import Any
from xmlrpc import client

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.gateway import xml_rpc
from cohabit.gateway.faults import BAD_NAME, Fault

VALUES = st.recursive(
    st.booleans() | st.integers(-(2**31), 2**31 - 1) | st.text(st.characters(codec="utf-8", exclude_categories=["C"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(VALUES, max_size=3))
def test_a_request_is_read_as_it_was_written(values: list[Any]) -> None:
    """As the client of the standard library writes it."""
    data = client.dumps(tuple(values), "supervisor.getState").encode()
    assert xml_rpc.parse(data) == ("supervisor.getState", tuple(values))


def test_other_forms_of_a_request() -> None:
    """Without params, with a string without a type, with binary data."""
    head = "<methodCall><methodName>a.b</methodName>"
    assert xml_rpc.parse(f"{head}</methodCall>".encode()) == ("a.b", ())
    one = f"{head}<params><param><value>x y</value></param></params></methodCall>"
    assert xml_rpc.parse(one.encode()) == ("a.b", ("x y",))
    assert xml_rpc.parse(client.dumps((client.Binary(b"\xff"),), "a.b").encode()) == ("a.b", (b"\xff",))


BOMB = '<!DOCTYPE a [<!ENTITY b "xx"><!ENTITY c "&b;&b;">]><methodCall><methodName>&c;</methodName></methodCall>'
OUTSIDE = '<!DOCTYPE a SYSTEM "file:///etc/passwd"><methodCall><methodName>x</methodName></methodCall>'

LONG = OUTSIDE.partition(">")[2].replace(
    "</methodName>", f"</methodName><params><param><int>{'9' * 5000}</int></param></params>"
)


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "<a>", "<a/>", "<methodCall/>", BOMB, OUTSIDE,
        "<methodCall><methodName>x</methodName><params><param><value><int>x</int></value></param></params></methodCall>",
        "<methodCall><methodName>x</methodName><params><param><value><struct></value></param></params></methodCall>",
        "<methodResponse><fault><value><struct/></value></fault></methodResponse>",
        LONG,
    ],
)  # fmt: skip
def test_no_document_but_a_request_is_accepted(text: str) -> None:
    """Nothing but InvalidRequestError is raised."""
    with pytest.raises(xml_rpc.InvalidRequestError):
        xml_rpc.parse(text.encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(data: bytes) -> None:
    """Nothing but InvalidRequestError is raised."""
    try:
        xml_rpc.parse(b"<methodCall>" + data + b"</methodCall>")
    except xml_rpc.InvalidRequestError:
        pass


@given(st.text())
def test_every_answer_can_be_read(text: str) -> None:
    """Characters that XML does not permit, such as escape sequences of a log, are replaced."""
    data = xml_rpc.answer(lambda _name, _values: {"text": text, "list": [text]}, "x", ())
    found: Any = client.loads(data.decode())[0][0]
    assert found["text"] == found["list"][0]
    if text.isprintable():
        assert found["text"] == text


def test_a_fault_is_an_answer() -> None:
    """With its code and its text."""

    def fail(_name: str, _values: object) -> None:
        raise Fault(BAD_NAME, "web\x1b")

    with pytest.raises(client.Fault) as raised:
        client.loads(xml_rpc.answer(fail, "x", ()).decode())
    assert (raised.value.faultCode, raised.value.faultString) == (10, "BAD_NAME: web\N{REPLACEMENT CHARACTER}")
