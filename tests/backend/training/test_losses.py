"""The losses: unknown pixels weigh nothing, and the fused one is cross-entropy of the fused probability."""

import torch
import torch.nn.functional as F

from changen2.training.losses import fused_cross_entropy, masked_cross_entropy


def test_unknown_pixels_do_not_count() -> None:
    logits = torch.tensor([[[[3.0, -2.0]]]], requires_grad=True)
    loss = masked_cross_entropy(logits, torch.tensor([[[[1.0, 1.0]]]]), torch.tensor([[[[1.0, 0.0]]]]))
    torch.testing.assert_close(loss, F.softplus(torch.tensor(-3.0)))
    loss.backward()
    assert logits.grad is not None and logits.grad[0, 0, 0, 1] == 0


def test_all_unknown_is_no_loss() -> None:
    zero = torch.zeros(1, 1, 2, 2)
    assert masked_cross_entropy(zero, zero, zero) == 0


def test_fused_loss_is_cross_entropy_of_the_fused_probability() -> None:
    generator = torch.Generator().manual_seed(0)
    change, before, after = (torch.randn(1, 1, 8, 8, generator=generator) * 2 for _ in range(3))
    target = (torch.rand(1, 1, 8, 8, generator=generator) > 0.5).float()
    p1, p2 = before.sigmoid(), after.sigmoid()
    fused = (change.sigmoid() * torch.maximum(p1 * (1 - p2), p2 * (1 - p1))).sqrt()
    expected = F.binary_cross_entropy(fused, target)
    torch.testing.assert_close(
        fused_cross_entropy(change, before, after, target, torch.ones_like(target)), expected, rtol=1e-3, atol=1e-4
    )


def test_fused_loss_stays_finite_for_sure_logits() -> None:
    sure = torch.full((1, 1, 1, 1), 40.0, requires_grad=True)
    loss = fused_cross_entropy(sure, -sure, sure, torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1))
    loss.backward()
    assert torch.isfinite(loss) and sure.grad is not None and torch.isfinite(sure.grad).all()
