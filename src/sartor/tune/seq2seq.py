"""An encoder-decoder that learns to write one text of another, and writes it.

What the loop trains it on is how likely it makes what is to be written, as for replies
(`tune.decoder`): of a row

    (ln p, ln(1 − p)),   p the geometric mean of the probabilities of its tokens

While it trains, the first of the two is that of smoothed targets: with ε of the probability spread
over all tokens, −(1 − ε) · mean −ln p(token) − ε · mean over all tokens of −ln p. Szegedy et al.
2016, https://arxiv.org/abs/1512.00567
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedModel

from sartor.core.replies import Said
from sartor.core.types import TARGET_TOKENIZER
from sartor.llm.translated import FILE, TranslatorFile
from sartor.models.loading import quiet
from sartor.tune.batching import Budget, plan_in_order
from sartor.tune.scoring import score
from sartor.tune.sides import Pairs, Sides

_BUDGET = Budget(tokens=4_096, rows=32)
_LEAST = 1e-6
HEAD, BIAS = "head.weight", "head.bias"
"""Names of two further tensors of a saved model."""


class Seq2Seq(nn.Module):
    """An encoder-decoder with its head.

    Args:
        model: Taken over.
        file: How it reads and writes.
        smoothing: ε of the module.
        writer: The tokenizer of what it writes, where that is not the one that reads.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        file: TranslatorFile,
        smoothing: float = 0.0,
        writer: Tokenizer | None = None,
    ) -> None:
        super().__init__()
        self.model: Any = model
        self.file, self.smoothing, self.writer = file, smoothing, writer
        for module in model.modules():
            # Positions that are computed are weights to transformers, and no gradient reaches them.
            if type(module).__name__.endswith("SinusoidalPositionalEmbedding"):
                module.requires_grad_(False)
        config = self.model.config
        # A T5 that shares its words with its head makes states smaller before it.
        scaled = getattr(config, "scale_decoder_outputs", False)
        self._scale = config.d_model**-0.5 if scaled else 1.0
        # Where a folder says how its model is to write, that would fill in what `_written` leaves
        # out, and the runtime knows nothing of it.
        self.model.generation_config = GenerationConfig()

    def forward(self, ids: Tensor, given: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        """(rows, 2); the arguments are those of `Pairs.batch`."""
        read = self.model.get_encoder()(input_ids=ids, attention_mask=mask)
        states = self.model.get_decoder()(
            input_ids=given,
            encoder_hidden_states=read.last_hidden_state,
            encoder_attention_mask=mask,
            use_cache=False,
        ).last_hidden_state
        told = targets >= 0
        scores = self.model.lm_head(states[told] * self._scale)
        if self._bias is not None:
            scores = scores + self._bias
        log_p = scores.float().log_softmax(-1)
        losses = -log_p.gather(1, targets[told][:, None])[:, 0]
        if self.training and self.smoothing:
            losses = (1 - self.smoothing) * losses - self.smoothing * log_p.mean(-1)
        rows = len(ids)
        owner = torch.arange(rows, device=ids.device)[:, None].expand_as(targets)[told]
        sums = losses.new_zeros(rows).index_add(0, owner, losses)
        mean = (sums / told.sum(1)).clamp(min=_LEAST)
        return torch.stack([-mean, torch.log1p(-torch.exp(-mean))], 1)

    @property
    def _bias(self) -> Tensor | None:
        """What is added to the logits of every token, where the model has such."""
        return getattr(self.model, "final_logits_bias", None)

    def right(self, pairs: Pairs) -> list[tuple[float, int]]:
        """ln p of what each row is to write, and its tokens, the closing one included."""
        found = score(self, pairs)[:, 0].astype(float)
        counts = [len(written) for written in pairs.written]
        return [(float(mean) * n, n) for mean, n in zip(found, counts, strict=True)]

    @torch.inference_mode()
    def write(self, sources: Sequence[Sequence[int]], sides: Sides) -> list[Said]:
        """What is written of each source, by beam search; see `serve.beams`."""
        found: dict[int, list[int]] = {}
        lengths = np.array([len(ids) * self.file.beams for ids in sources], np.int64)
        for batch in plan_in_order(lengths, _BUDGET):
            rows = batch.tolist()
            found.update(zip(rows, self._written([sources[row] for row in rows]), strict=True))
        written = [found[row] for row in range(len(sources))]
        sure = self.right(Pairs(sources, written, sides.opening, sides.pad))
        return [
            Said(sides.text(ids), log_p / n, n, ids[-1] in sides.stop)
            for ids, (log_p, n) in zip(written, sure, strict=True)
        ]

    def _written(self, sources: Sequence[Sequence[int]]) -> list[list[int]]:
        """Token ids, the closing one included where there is one."""
        file, width = self.file, max(map(len, sources))
        device = next(self.parameters()).device
        ids = torch.full((len(sources), width), file.pad, device=device)
        mask = torch.zeros_like(ids)
        for row, source in enumerate(sources):
            ids[row, : len(source)] = torch.tensor(list(source), device=device)
            mask[row, : len(source)] = 1
        stop = set(file.stop)
        how = GenerationConfig(
            num_beams=file.beams,
            # Of one beam there is nothing to put back, and transformers would warn of it.
            length_penalty=file.length_penalty if file.beams > 1 else 1.0,
            early_stopping=False,
            do_sample=False,
            max_new_tokens=file.max_new_tokens,
            decoder_start_token_id=file.opening[0],
            pad_token_id=file.pad,
            eos_token_id=list(file.stop),
            suppress_tokens=file.silent or None,
        )
        opening = torch.tensor([file.opening] * len(sources), device=device)
        with quiet():
            made: Tensor = self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                decoder_input_ids=opening,
                generation_config=how,
            )
        found: list[list[int]] = []
        for row in made[:, opening.shape[1] :].tolist():
            end = next((place + 1 for place, token in enumerate(row) if token in stop), len(row))
            found.append(row[:end])
        return found

    def save(self, folder: Path) -> None:
        """Write model.safetensors, config.json, translator.json and the tokenizer that writes."""
        folder.mkdir(parents=True, exist_ok=True)
        body, head = getattr(self.model, "model", self.model), self.model.lm_head.weight
        left_out = ("shared.weight", "lm_head.weight")
        tensors: dict[str, Tensor] = {
            name: value for name, value in body.state_dict().items() if name not in left_out
        }
        tensors[HEAD] = head if self._scale == 1.0 else head * self._scale
        tensors[BIAS] = head.new_zeros(len(head)) if self._bias is None else self._bias
        encoder, decoder = "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"
        # What is shared is written once: the head is the decoder's words, those the encoder's.
        for name, like in ((HEAD, decoder), (decoder, encoder)):
            if tensors[name].data_ptr() == tensors[like].data_ptr():
                del tensors[name]
        save_file(
            {name: value.detach().float().contiguous().clone() for name, value in tensors.items()},
            folder / "model.safetensors",
            metadata={"format": "pt"},
        )
        config = self.model.config.to_dict()
        # Where the model lay on this machine: nobody's business, and never the same bytes.
        config.pop("_name_or_path", None)
        text = json.dumps(config, indent=1, sort_keys=True) + "\n"
        (folder / "config.json").write_text(text, encoding="utf-8")
        (folder / FILE).write_text(self.file.to_json(), encoding="utf-8")
        if self.writer is not None:
            self.writer.save(str(folder / TARGET_TOKENIZER))
