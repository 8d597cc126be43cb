import pytest
import torch

from changen2.errors import InputError
from changen2.models.devices import choose_device, choose_precision, devices


def test_the_cpu_is_always_there_and_last():
    assert devices()[-1].name == "cpu"
    assert choose_device("cpu") == torch.device("cpu")


def test_another_device_is_never_taken_silently():
    missing = "cuda:99"
    with pytest.raises(InputError) as caught:
        choose_device(missing)
    assert missing in caught.value.message and "cpu" in caught.value.message


def test_precision_by_name_and_by_hardware(monkeypatch):
    cpu = torch.device("cpu")
    assert choose_precision("bf16", cpu) is torch.bfloat16
    with pytest.raises(InputError):
        choose_precision("fp16", cpu)
    for tiles, vectors, wanted in ((1, 0, torch.bfloat16), (0, 1, torch.bfloat16), (0, 0, torch.float32)):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda has=tiles: bool(has), raising=False)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=vectors: bool(has), raising=False)
        assert choose_precision("auto", cpu) is wanted
