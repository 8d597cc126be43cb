"""What is said of a source holds no password, key or signature."""

import pytest

from changen2.errors import InputError
from changen2.protocol import DetectRequest, error_body, validate
from changen2.redaction import redact, redacted_result

SOURCES = [
    "/vsicurl/https://ada:hush@store.example/a.tif",
    "/vsicurl/https:/ada:hush@store.example/a.tif",
    "/vsicurl?max_retry=3&url=https%3A%2F%2Fada%3Ahush%40store.example%2Fa.tif",
    "/vsicurl/https://store.example/a.tif?X-Amz-Credential=hush&X-Amz-Signature=hush&X-Amz-Security-Token=hush",
    "/vsicurl/https://store.example/a.tif?sp=r&sig=hush%3D",
    "/vsicurl/https://store.example/a.tif?GoogleAccessId=hush&Signature=hush&Key-Pair-Id=hush",
    "/vsicurl?header.Authorization=Bearer%20hush&url=https%3A%2F%2Fstore.example%2Fa.tif%3Ftoken%3Dhush",
    "https://store.example/a.tif?subscription-key=hush&api_key=hush&AWSAccessKeyId=hush",
    "https://t0.tianditu.example/img_w/wmts?SERVICE=WMTS&tk=hush",
    "/vsicurl?url=https%3A%2F%2Ft0.tianditu.example%2Fwmts%3Ftk%3Dhush",
    "https://ada:pass@hush@store.example/a.tif",
    "PG:host=db dbname='gis' user='ada' password='hush hush' table='r'",
]


@pytest.mark.parametrize("source", SOURCES)
def test_credentials_are_redacted(source):
    assert "hush" not in redact(source)
    assert redact(redact(source)) == redact(source)


@pytest.mark.parametrize(
    "source",
    [
        "/home/ada/key figures/monkey.tif",
        "/vsicurl/https://store.example/a.tif?v=2",
        "https://store.example/a.tif?break=2&by=ada@home",
        "C:\\user\\labels.tif",
        "C:/ada@home/labels.tif",
    ],
)
def test_what_is_no_credential_stays(source):
    assert redact(source) == source


@pytest.mark.parametrize("source", SOURCES)
def test_an_error_and_a_result_hold_no_credentials(source, tmp_path):
    body = error_body(InputError(f"{source} is broken.", hint=f"Look at {source}."))
    assert "hush" not in str(body) and "is broken" in body["message"]
    local = tmp_path / "key=3.tif"
    local.touch()
    outputs = {"map": str(local), "from": source}
    told = redacted_result({"outputs": outputs, "warnings": [source], "summary": {"polygons": 1}})
    assert "hush" not in str(told) and told["summary"] == {"polygons": 1}
    assert told["outputs"]["map"] == str(local), "a file is named as it is"


def test_a_refused_parameter_is_cut_short_after_its_credentials_are_hidden():
    source = f"/vsicurl/https://ada:hush{'x' * 100}@store.example/a.tif"
    with pytest.raises(InputError) as refused:
        validate(DetectRequest, {"befor": source, "after": "a.tif", "out_dir": "out"})
    assert "befor" in refused.value.message and "hush" not in refused.value.message
