import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.exceptions import FileFormatError
from twofold.io import json_documents
from twofold.io.json_documents import parse_documents

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
values = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | texts
objects = st.dictionaries(texts, values | st.lists(values, max_size=3), max_size=4)


@given(
    st.lists(objects, min_size=1, max_size=4),
    st.booleans(),
    st.sampled_from(["\n", "\r\n", "\n\n"]),
)
def test_one_document_on_each_line(documents, ascii_only, end):
    text = end.join(json.dumps(item, ensure_ascii=ascii_only) for item in documents) + end
    for content in (text.encode(), gzip.compress(text.encode()), b"\xef\xbb\xbf" + text.encode()):
        assert list(parse_documents(content, "a.jsonl")) == documents


@given(objects, st.sampled_from([None, 1, "\t"]))
def test_one_document(document, indent):
    text = json.dumps(document, indent=indent)
    assert list(parse_documents(text.encode(), "a.json")) == [document]
    assert list(parse_documents(f"[{text},\n{text}]".encode(), "a.json")) == [[document] * 2]


@pytest.mark.parametrize("cut", range(1, 60))
def test_both_parsers_raise_the_same_error(cut, monkeypatch):
    text = '{"a": [1, "é", {"b": null}], "c": 1.5e3, "d": "\\u00e9🎵"}\n{"e": true}\n'.encode()
    found = []
    for parser in (json_documents.orjson, None):
        monkeypatch.setattr(json_documents, "orjson", parser)
        try:
            found.append(list(parse_documents(text[:cut], "a.json")))
        except FileFormatError as error:
            found.append(str(error))
    assert found[0] == found[1]
    assert isinstance(found[0], list) or found[0].startswith("'a.json' ")


def test_documents_before_an_error_are_yielded():
    documents = parse_documents(b'{"a": 1}\n{"a": \n', "a.jsonl")
    assert next(documents) == {"a": 1}
    with pytest.raises(FileFormatError, match="at byte 16 of 16"):
        next(documents)
