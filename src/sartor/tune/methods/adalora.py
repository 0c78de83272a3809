"""AdaLoRA: low-rank updates whose ranks are shared out among the layers while training.

y = Wx + (alpha / initial_rank) · B diag(E) A x

Every layer starts with more ranks than there are to keep. After `ranks_from` of the steps those
that matter least (a smoothed |tensor · gradient|) are set to zero, at a budget that falls as a
cubic, until the layers have `rank` each on average for the last `ranks_fixed` of the steps. A
penalty holds A's rows and B's columns near to orthonormal, so that ranks can be cut one by one.

Zhang et al. 2023, https://arxiv.org/abs/2303.10512
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor, nn

from sartor.core.errors import SettingError
from sartor.tune.api import METHODS, Dimension, Reads, Real, Whole, is_head
from sartor.tune.injected import ADAPTER, choose_linears, inject, merge

if TYPE_CHECKING:
    from peft import AdaLoraConfig
    from peft.tuners.adalora import AdaLoraLayer, RankAllocator

_SLOT = "rank_allocator"
"""Where the model carries its allocator between `begin` and `fold`: methods hold no state."""


@METHODS.add
@dataclass(frozen=True, slots=True)
class AdaLora:
    """Adapts every `nn.Linear` of the encoder whose dotted name matches `where`, and the head."""

    reads: ClassVar[Reads] = "tokens"
    rung: ClassVar[int | None] = None

    rank: Annotated[int, Ge(1), Le(1024)] = 4
    """Ranks a layer has in the end, on average."""
    initial_rank: Annotated[int, Ge(2), Le(2048)] = 8
    """Ranks every layer has at first; more than `rank`."""
    alpha: Annotated[int, Ge(1)] = 16
    """Scale of the update: it is multiplied by alpha / initial_rank."""
    orthogonality: Annotated[float, Ge(0)] = 0.1
    """Weight of the penalty on A and B that are not orthonormal."""
    ranks_from: Annotated[float, Ge(0), Lt(1)] = 0.1
    """Share of the steps before the first rank is cut."""
    ranks_fixed: Annotated[float, Ge(0), Lt(1)] = 0.4
    """Share of the steps, at the end, in which the ranks that are left do not change."""
    lora_dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Share of the inputs of A set to zero while training."""
    where: str = "*"
    """Glob over module names below the encoder, e.g. `*.query`; attention and feed-forward."""
    lr: Annotated[float, Gt(0), Le(1)] = 6e-3
    """Peak learning rate of A, B and E."""
    head_lr: Annotated[float, Gt(0), Le(1)] = 5e-3
    """Peak learning rate of the head, which starts without pretraining."""

    def check(self) -> None:
        if self.initial_rank <= self.rank:
            raise SettingError(
                f"initial_rank={self.initial_rank} leaves nothing to cut down to rank={self.rank}.",
                fix=f"raise initial_rank above {self.rank}, or use `--method lora`.",
            )
        if self.ranks_from + self.ranks_fixed >= 1:
            raise SettingError(
                f"ranks_from={self.ranks_from} and ranks_fixed={self.ranks_fixed} leave no step "
                "to cut ranks in.",
                fix="choose two shares whose sum is below 1.",
            )

    def attach(self, model: nn.Module) -> None:
        self.check()
        inject(model, self._config(choose_linears(model, self.where), total=1))

    def begin(self, model: nn.Module, steps: int) -> None:
        from peft.tuners.adalora import RankAllocator

        config = self._config(None, total=steps)
        setattr(model, _SLOT, _Allocation(RankAllocator(model, config, ADAPTER)))

    def after_step(self, model: nn.Module, step: int) -> None:
        _allocation(model).after_step(model, step)

    def state(self, model: nn.Module) -> Mapping[str, Tensor]:
        return _allocation(model).state()

    def restore(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        device = next(model.parameters()).device
        _allocation(model).restore({name: tensor.to(device) for name, tensor in state.items()})

    def penalty(self, model: nn.Module) -> Tensor:
        """Mean over A and B of ‖PPᵀ − I‖, as in peft and in the authors' code."""
        gaps: list[Tensor] = []
        for layer in _adapted(model).values():
            a, b = layer.lora_A[ADAPTER], layer.lora_B[ADAPTER]
            for product in (a @ a.T, b.T @ b):
                eye = torch.eye(len(product), dtype=product.dtype, device=product.device)
                gaps.append(torch.linalg.matrix_norm(product - eye))
        return self.orthogonality * torch.stack(gaps).mean()

    def settled(self, model: nn.Module) -> bool:
        """Whether the ranks are those that will stay."""
        return _allocation(model).fixed

    def findings(self, model: nn.Module) -> Mapping[str, Any]:
        """`ranks`: those that each layer keeps, by its dotted name below the encoder."""
        return {"ranks": ranks(model)}

    def fold(self, model: nn.Module) -> None:
        merge(model)
        if hasattr(model, _SLOT):
            delattr(model, _SLOT)

    def rate(self, name: str, depth: int) -> float:
        return self.head_lr if is_head(name) else self.lr

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [
            {"rank": 4, "initial_rank": 8, "lr": 6e-3, "epochs": 4},
            {"rank": 8, "initial_rank": 12, "lr": 3e-3, "epochs": 4},
            {"rank": 2, "initial_rank": 4, "lr": 1e-2, "epochs": 4},
        ]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {
            "rank": Whole(1, 16, log=True),
            # Those not above the rank drawn with them are refused: see `check`.
            "initial_rank": Whole(2, 32),
            "orthogonality": Real(0.01, 0.5, log=True),
            "lr": Real(5e-4, 2e-2, log=True),
            "epochs": Whole(2, 10),
            "label_smoothing": Real(0.0, 0.2),
        }

    def _config(self, where: list[str] | None, total: int) -> "AdaLoraConfig":
        from peft import AdaLoraConfig

        return AdaLoraConfig(
            target_r=self.rank,
            init_r=self.initial_rank,
            lora_alpha=self.alpha,
            lora_dropout=self.lora_dropout,
            target_modules=where,
            # Rounded down, so that at least one step is left between them.
            tinit=int(self.ranks_from * total),
            tfinal=int(self.ranks_fixed * total),
            total_step=total,
            bias="none",
        )


class _Allocation:
    """peft's allocator with its place in the run, which it does not keep."""

    def __init__(self, allocator: "RankAllocator") -> None:
        self._allocator = allocator
        self._config: AdaLoraConfig = allocator.peft_config
        self.fixed = False
        """Whether the ranks that are left are those that stay."""

    def after_step(self, model: nn.Module, step: int) -> None:
        last_cut = self._total() - self._config.tfinal
        if step > last_cut:
            # The optimizer's momentum moves what was set to zero.
            self._allocator.mask_using_rank_pattern(model, self._config.rank_pattern)
            return
        if step == last_cut and not self._allocator.ipt:
            # A run of one step cuts before there are averages to cut by.
            self._allocator.update_ipt(model)
        self.fixed = step == last_cut
        _, kept = self._allocator.update_and_allocate(model, step, force_mask=self.fixed)
        if kept is not None:
            self._config.rank_pattern = kept

    def state(self) -> dict[str, Tensor]:
        kept = self._config.rank_pattern or {}
        return {
            "fixed": torch.tensor(self.fixed),
            **{f"importance/{n}": t for n, t in self._allocator.exp_avg_ipt.items()},
            **{f"doubt/{n}": t for n, t in self._allocator.exp_avg_unc.items()},
            **{f"kept/{n}": torch.tensor(mask) for n, mask in kept.items()},
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        groups: dict[str, dict[str, Tensor]] = {"importance": {}, "doubt": {}, "kept": {}}
        for key, value in state.items():
            group, _, name = key.partition("/")
            groups.setdefault(group, {})[name] = value
        self.fixed = bool(state["fixed"])
        self._allocator.exp_avg_ipt = groups["importance"]
        self._allocator.exp_avg_unc = groups["doubt"]
        # Overwritten at the next step; its keys tell the allocator that averages are there.
        self._allocator.ipt = dict(groups["importance"])
        kept = {name: mask.tolist() for name, mask in groups["kept"].items()}
        self._config.rank_pattern = kept or None

    def _total(self) -> int:
        return self._config.total_step or 0


def ranks(model: nn.Module) -> dict[str, int]:
    """Ranks that each adapted layer has now, by its dotted name."""
    return {
        name.removeprefix("encoder."): int(torch.count_nonzero(layer.lora_E[ADAPTER]))
        for name, layer in _adapted(model).items()
    }


def _adapted(model: nn.Module) -> "dict[str, AdaLoraLayer]":
    from peft.tuners.adalora import AdaLoraLayer

    return {n: m for n, m in model.named_modules() if isinstance(m, AdaLoraLayer)}


def _allocation(model: nn.Module) -> _Allocation:
    return getattr(model, _SLOT)
