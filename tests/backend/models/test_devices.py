import pytest
import torch

from changen2.errors import InputError
from changen2.models import devices as module
from changen2.models.devices import Device, choose_device, choose_precision, devices, take_gpu


def test_the_cpu_is_always_there_and_last():
    assert devices()[-1].name == "cpu"
    assert choose_device("cpu") == torch.device("cpu")


def test_another_device_is_never_taken_silently():
    missing = "cuda:99"
    with pytest.raises(InputError) as caught:
        choose_device(missing)
    assert missing in caught.value.message and "cpu" in caught.value.message


def test_a_process_keeps_to_its_own_gpu(monkeypatch):
    names = ["cuda:0", "cuda:1", "cpu"]
    monkeypatch.setattr(module, "devices", lambda: [Device(name, name, 1, 1) for name in names])
    monkeypatch.setattr(module, "_own_gpu", 0)
    for number, wanted in ((0, "cuda:0"), (1, "cuda:1"), (7, "cuda:0")):
        take_gpu(number)
        assert choose_device("auto") == choose_device("cuda") == torch.device(wanted)
        assert choose_device("cuda:0") == torch.device("cuda:0") and choose_device("cpu") == torch.device("cpu")


def test_precision_by_name_and_by_hardware(monkeypatch):
    cpu = torch.device("cpu")
    assert choose_precision("bf16", cpu) is torch.bfloat16
    with pytest.raises(InputError):
        choose_precision("fp16", cpu)
    for tiles, vectors, name, wanted in (
        (True, False, "Intel(R) Xeon(R)", torch.bfloat16),
        (False, True, "AMD EPYC", torch.bfloat16),
        (False, True, "Intel(R) Xeon(R)", torch.float32),
        (False, False, "AMD EPYC", torch.float32),
    ):
        found = {"avx512_bf16": vectors, "cpu_name": name}
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda has=tiles: has, raising=False)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=found: found, raising=False)
        assert choose_precision("auto", cpu) is wanted
