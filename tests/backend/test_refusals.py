"""What is said of parameters that cannot be taken: the value, what is allowed, the next step, in plain words."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changen2 import protocol
from changen2.errors import InputError
from changen2.protocol import DetectRequest, GenerateRequest, Request, SampleRequest, validate

NEEDED = {
    "before": "a.tif", "after": "b.tif", "image": "a.tif", "labels": "l.tif", "image_dir": "images", "out_dir": "out",
    "probability": "p.tif", "prediction": "p.tif", "pairs": 3, "name": "mine", "path": "file", "id": 1,
}  # fmt: skip

NUMBERS = {"number", "integer", "array"}


def options(kinds=None):
    """Schema, name and JSON schemas of every parameter of every request that may be of these kinds."""
    found = []
    for schema in vars(protocol).values():
        if isinstance(schema, type) and issubclass(schema, Request):
            for name, field in schema.model_json_schema().get("properties", {}).items():
                forms = field.get("anyOf", [field])
                if kinds is None or kinds & {form["type"] for form in forms}:
                    found.append(pytest.param(schema, name, forms, id=f"{schema.__name__}-{name}"))
    return found


def enough(schema, more):
    """The least that a request takes, and more."""
    needed = [name for name, field in schema.model_fields.items() if field.is_required()]
    return {name: NEEDED[name] for name in needed} | more


def refused(schema, /, **more):
    with pytest.raises(InputError) as caught:
        validate(schema, enough(schema, more))
    return caught.value


@pytest.mark.parametrize(("schema", "name", "forms"), options())
def test_every_parameter_is_refused_in_plain_words(schema, name, forms):
    error = refused(schema, **{name: {"no": "such value"}})
    assert error.message.startswith(f"{name} is {{'no': 'such value'}}; allowed: ") and name in error.hint
    for jargon in ("Input should", "constrained", "^(", "function", "NoneType", "Field("):
        assert jargon not in error.message + error.hint
    for form in forms:
        for bound in ("minimum", "maximum", "exclusiveMinimum", "multipleOf"):
            assert bound not in form or str(form[bound]) in error.message
        for value in form.get("enum", []):
            assert value in error.message


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize(("schema", "name", "forms"), options(NUMBERS))
def test_no_number_is_infinite(schema, name, forms, value):
    many = [value] * 4 if "array" in {form["type"] for form in forms} else value
    assert f"{name} is " in refused(schema, **{name: many}).message


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_what_is_said_to_be_allowed_is(value):
    if 0 <= value <= 1:
        assert validate(DetectRequest, enough(DetectRequest, {"threshold": value})).threshold == value
    else:
        error = refused(DetectRequest, threshold=value)
        assert error.message == f"threshold is {value}; allowed: a finite number from 0 to 1."


def test_sentences():
    error = refused(DetectRequest, device="gpu", gsd="fine")
    assert error.message == (
        "gsd is 'fine'; allowed: auto or a finite number above 0. "
        "device is 'gpu'; allowed: auto, cpu, cuda, cuda:N (such as cuda:0) or mps."
    )
    assert error.hint == "Change gsd, or leave it out. Change device, or leave it out to use auto."
    error = refused(GenerateRequest, size=100)
    assert error.message == "size is 100; allowed: a whole number from 64 to 2048, a multiple of 32."
    assert refused(DetectRequest, bands="x").code == "bad_band"


def test_what_is_missing_and_what_is_not_known():
    with pytest.raises(InputError) as caught:
        validate(SampleRequest, {"sead": 3, "colour": "red"})
    assert caught.value.message == ("out_dir is missing. There is no parameter 'sead'. There is no parameter 'colour'.")
    assert caught.value.hint == "Give out_dir: a text. Did you mean seed? There are: out_dir, size, seed."


def test_a_long_value_is_cut():
    assert len(refused(DetectRequest, threshold="9" * 10_000).message) < 200
