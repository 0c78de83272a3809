"""A causal language model that learns replies and writes them.

What the loop trains it on is how likely it makes a reply. With p the geometric mean of the
probabilities of the reply's tokens, its closing one included, the "logits" of a conversation are

    (ln p, ln(1 − p)),   so that −log softmax(…)[0] = −ln p = mean loss of a token

and losses, checkpoints, early stopping and deadlines are the loop's own. Only the reply's tokens
count, and every reply counts the same, however long it is. The large product with the vocabulary is
taken at the reply's tokens alone.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from sartor.core.replies import Said
from sartor.llm.written import FILE, WriterFile
from sartor.tune.conversing import Conversing
from sartor.tune.packing import PACKED, Lesson, Lessons
from sartor.tune.scoring import score

_BATCH_ROWS = 16
_BATCH_TOKENS = 4_096
_LEAST = 1e-6
INVERSE, SCALING = "rotary.inverse_frequencies", "rotary.scaling"
"""Names of two further tensors of a saved decoder."""


class Decoder(nn.Module):
    """A language model with its head, behind the joints of its conversations.

    Args:
        model: Taken over.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.decoder = model
        self._plain = str(getattr(model.config, "_attn_implementation", None) or "eager")
        self.file: WriterFile | None = None
        """What is written beside the weights; set before `save`."""

    def forward(
        self,
        ids: Tensor,
        positions: Tensor,
        targets: Tensor,
        owners: Tensor,
        places: Tensor,
        mask: Tensor,
    ) -> Tensor:
        """(conversations, 2): ln p and ln(1 − p); the arguments are those of `Lessons.batch`."""
        self._attend(PACKED)
        shared = ids.shape[1] - len(owners)
        body: Any = self.decoder.base_model
        found = body(
            input_ids=ids,
            position_ids=positions,
            use_cache=False,
            places=places,
            owners=owners,
            within=positions[0, shared:] - shared,
        )
        told = targets >= 0
        head: Any = self.decoder.get_output_embeddings()
        scores = head(found.last_hidden_state[0, told]).float()
        losses = nn.functional.cross_entropy(scores, targets[told], reduction="none")
        owner, rows = owners[told[shared:]], len(places)
        sums = losses.new_zeros(rows).index_add(0, owner, losses)
        counts = losses.new_zeros(rows).index_add(0, owner, torch.ones_like(losses))
        mean = (sums / counts).clamp(min=_LEAST)
        return torch.stack([-mean, torch.log1p(-torch.exp(-mean))], 1)

    def _attend(self, how: str) -> None:
        if getattr(self.decoder.config, "_attn_implementation", None) != how:
            self.decoder.set_attn_implementation(how)

    def right(self, lessons: Sequence[Lesson]) -> list[tuple[float, int]]:
        """ln p of each reply, and its tokens, the closing one included."""
        found = score(self, Lessons.of(lessons))[:, 0].astype(float)
        counts = [len(lesson.ids) - lesson.begins + 1 for lesson in lessons]
        return [(float(mean) * n, n) for mean, n in zip(found, counts, strict=True)]

    @torch.inference_mode()
    def write(self, prompts: Sequence[Sequence[int]], says: Conversing, most: int) -> list[Said]:
        """The likeliest reply to each prompt, token by token the likeliest.

        Args:
            prompts: Token ids, up to where the reply begins.
            says: Spells the tokens, and says which end a reply.
            most: Tokens of a reply.
        """
        self._attend(self._plain)
        found: dict[int, Said] = {}
        for rows in _batches([len(prompt) for prompt in prompts]):
            made = self._written([prompts[row] for row in rows], says.stop, most)
            for row, (ids, log_p, ended) in zip(rows, made, strict=True):
                found[row] = Said(says.text(ids), log_p, len(ids) + ended, bool(ended))
        return [found[row] for row in range(len(prompts))]

    def _written(
        self, prompts: Sequence[Sequence[int]], stop: Sequence[int], most: int
    ) -> list[tuple[list[int], float, int]]:
        """Token ids, mean ln p and whether it ended, one a prompt; padding stands on the left."""
        rows, width = len(prompts), max(map(len, prompts))
        device = next(self.parameters()).device
        ids = torch.zeros(rows, width, dtype=torch.long, device=device)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(list(prompt), device=device)
            mask[row, width - len(prompt) :] = 1
        cache: Any = DynamicCache()
        model: Any = self.decoder
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        written: list[list[int]] = [[] for _ in prompts]
        sums, ended, given = [0.0] * rows, [0] * rows, ids
        for _ in range(most):
            scores = model(
                input_ids=given,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            chosen = scores.argmax(-1)
            sure = scores.float().log_softmax(-1).gather(1, chosen[:, None])[:, 0].tolist()
            for row, token in enumerate(chosen.tolist()):
                if ended[row]:
                    continue
                sums[row] += sure[row]
                if token in stop:
                    ended[row] = 1
                else:
                    written[row].append(token)
            if all(ended):
                break
            given = chosen[:, None]
            mask = nn.functional.pad(mask, (0, 1), value=1)
            positions = positions[:, -1:] + 1
        return [
            (tokens, total / max(len(tokens) + done, 1), done)
            for tokens, total, done in zip(written, sums, ended, strict=True)
        ]

    def save(self, folder: Path) -> None:
        """Write model.safetensors, config.json and writer.json."""
        assert self.file is not None, "a fit says how conversations are read"
        folder.mkdir(parents=True, exist_ok=True)
        body: Any = self.decoder.base_model
        tensors = {
            name: value.contiguous().float()
            for name, value in body.state_dict().items()
            if "rotary_emb" not in name
        }
        head: Any = self.decoder.get_output_embeddings()
        words: Any = self.decoder.get_input_embeddings()
        if head.weight.data_ptr() != words.weight.data_ptr():
            tensors["head.weight"] = head.weight.contiguous().float()
        tensors[INVERSE] = body.rotary_emb.inv_freq.float().contiguous()
        tensors[SCALING] = torch.tensor([float(body.rotary_emb.attention_scaling)])
        save_file(
            {name: value.clone() for name, value in tensors.items()},
            folder / "model.safetensors",
            metadata={"format": "pt"},
        )
        config = self.decoder.config.to_dict()
        # Where the model lay on this machine: nobody's business, and never the same bytes.
        config.pop("_name_or_path", None)
        text = json.dumps(config, indent=1, sort_keys=True) + "\n"
        (folder / "config.json").write_text(text, encoding="utf-8")
        (folder / FILE).write_text(self.file.to_json(), encoding="utf-8")


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Rows by length, a bounded number of tokens, padding included."""
    found: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        full = found and (
            len(found[-1]) >= _BATCH_ROWS or (len(found[-1]) + 1) * lengths[row] > _BATCH_TOKENS
        )
        if not found or full:
            found.append([])
        found[-1].append(row)
    return found
