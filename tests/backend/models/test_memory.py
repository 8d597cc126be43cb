"""Where memory does not suffice."""

import pytest
import torch

from changen2.errors import JobError
from changen2.models.memory import enough_memory, is_out_of_memory, move

CPU = torch.device("cpu")


def test_an_allocation_that_no_machine_can_serve_is_out_of_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("Allocation on device"),
        RuntimeError("MPS backend out of memory (MPS allocated: 7.53 GB)"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_what_torch_and_the_libraries_below_it_say(error):
    said = "The thing does not fit into the free memory of cpu"
    with pytest.raises(JobError, match=said) as caught, enough_memory(CPU, "The thing"):
        raise error
    assert caught.value.code == "out_of_memory" and caught.value.hint and caught.value.__cause__ is error


@pytest.mark.parametrize("error", [RuntimeError("shape mismatch"), ValueError("out of memory"), KeyError(1)])
def test_other_errors_pass_as_they_are(error):
    with pytest.raises(type(error)) as caught, enough_memory(CPU, "The thing"):
        raise error
    assert caught.value is error


def test_a_generator_that_does_not_fit_is_said():
    class Large(torch.nn.Module):
        def to(self, device):
            raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(JobError, match="The generator does not fit"):
        move(Large(), CPU)
    move(object(), CPU)
