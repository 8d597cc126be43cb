import pytest
import torch

from changen2.errors import InputError
from changen2.jobs.doctor import examine
from changen2.models import devices as module
from changen2.models.devices import Device, choose_device, choose_precision, devices, memory_free, survey, take_gpu
from changen2.worker import hello


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
    monkeypatch.setattr(module, "survey", lambda: ([Device(name, name, 1, 1) for name in names], {}))
    monkeypatch.setattr(module, "_own_gpu", 0)
    for number, wanted in ((0, "cuda:0"), (1, "cuda:1"), (7, "cuda:0")):
        take_gpu(number)
        assert choose_device("auto") == choose_device("cuda") == torch.device(wanted)
        assert choose_device("cuda:0") == torch.device("cuda:0") and choose_device("cpu") == torch.device("cpu")


ANSWER = (1 << 30, 2 << 30)
BUSY = RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later")


@pytest.fixture
def gpus(monkeypatch):
    """Let torch have GPUs that answer with free and total memory, or raise."""

    def have(*answers):
        def ask(index):
            if isinstance(answers[index], Exception):
                raise answers[index]
            return answers[index]

        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(answers))
        monkeypatch.setattr(torch.cuda, "mem_get_info", ask)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
        module._warn.cache_clear()

    return have


def test_a_gpu_that_does_not_answer_is_left_out_and_said_once(gpus, caplog):
    gpus(BUSY, ANSWER, AssertionError())
    assert [device.name for device in devices()] == ["cuda:1", "cpu"]
    assert survey()[1] == {"cuda:0": "CUDA error: out of memory", "cuda:2": "AssertionError"}
    assert [record.getMessage() for record in caplog.records] == [
        "cuda:0 cannot be used: CUDA error: out of memory",
        "cuda:2 cannot be used: AssertionError",
    ]
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda:1")
    with pytest.raises(InputError, match=r"'cuda:0' here; available: auto, cuda:1, cpu\..*out of memory"):
        choose_device("cuda:0")


def test_the_cpu_computes_though_no_gpu_does(gpus):
    gpus(BUSY)
    assert choose_device("cpu") == choose_device("auto") == torch.device("cpu")
    with pytest.raises(InputError, match=r"'cuda' here; available: auto, cpu\. cuda:0 cannot be used"):
        choose_device("cuda")


def test_the_doctor_and_the_greeting_go_on_without_it(gpus):
    gpus(BUSY)
    report = examine()
    (check,) = [check for check in report["checks"] if check["name"] == "device cuda:0"]
    assert not check["ok"] and not report["ok"] and check["found"] == "CUDA error: out of memory" and check["remedy"]
    for there in (report, hello()):
        assert [device["name"] for device in there["devices"]] == ["cpu"]


def test_free_memory_of_a_gpu_includes_what_torch_keeps_to_use_again(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: {1: (3000, 9000)}[device.index])
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 500)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 200)
    assert memory_free(torch.device("cuda:1")) == 3300
    assert memory_free(torch.device("cpu")) > 0


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
