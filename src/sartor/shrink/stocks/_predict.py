"""Answer texts with the model in this folder: python predict.py "a text" "another".

A model of pairs takes every two of them as one. Needs torch, transformers and safetensors, nothing
else. head.json says how texts are read, which hidden states are averaged over the tokens, what
follows them, and the decision rule.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer


class Model:
    def __init__(self, folder: Path) -> None:
        self.about = json.loads((folder / "head.json").read_text(encoding="utf-8"))
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        # Otherwise a pooler is drawn at random, and warned of: the mean needs none.
        without = self.about["without_pooler"]
        # Version 4 of transformers knows no `dtype`.
        self.encoder = AutoModel.from_pretrained(folder, **without).float().eval()
        self.head = load_file(folder / "head.safetensors")

    @torch.inference_mode()
    def logits(self, texts: list) -> Tensor:
        """(texts, outputs), before the decision rule; of pairs a text is a tuple of two."""
        kind = self.about.get("reads", "text")
        if kind == "text":
            return self._headed(self._means(texts))
        if kind == "joined":
            return self._headed(self._means(*([pair[side] for pair in texts] for side in (0, 1))))
        return self._headed(self._compared(*self._both(texts)))

    def _means(self, texts: list[str], others: list[str] | None = None) -> Tensor:
        """(texts, layers · width): what is read of each, or of two in one sequence."""
        about = self.about
        given = [[about["prefix"] + text for text in side] for side in (texts, others or [])]
        read = self.tokenizer(
            *(side for side in given if side),
            padding=True,
            truncation=True,
            max_length=about["max_length"],
            return_tensors="pt",
        )
        layers, top = about["layers"], self.encoder.config.num_hidden_layers
        found = self.encoder(**read, output_hidden_states=layers != [top])
        if layers == [top]:
            # Some encoders normalise their last state once more.
            chosen = [found.last_hidden_state]
        else:
            chosen = [found.hidden_states[layer] for layer in layers]
        real = read["attention_mask"].unsqueeze(-1).to(torch.float32)
        means = [(state.float() * real).sum(1) / real.sum(1).clamp(min=1) for state in chosen]
        return torch.cat(means, dim=-1)

    def _both(self, pairs: list[tuple[str, str]]) -> tuple[Tensor, Tensor]:
        one, other = (self._means([pair[side] for pair in pairs]) for side in (0, 1))
        return one, other

    def _compared(self, one: Tensor, other: Tensor) -> Tensor:
        """What a head reads of two texts that were read apart."""
        if self.about["reads"] == "alike":
            centre = self.head["centre"]
            return nn.functional.cosine_similarity(one - centre, other - centre)[:, None]
        each = (len(one), len(self.about["layers"]), -1)
        u, v = one.reshape(each), other.reshape(each)
        first = (u + v,) if self.about["symmetric"] else (u, v)
        return torch.cat([*first, (u - v).abs(), u * v], dim=-1).flatten(1)

    def _headed(self, x: Tensor) -> Tensor:
        for step in self.about["head"]:
            name = step.get("name")
            if step["kind"] == "shift":
                x = x + self.head[f"{name}.bias"]
            elif step["kind"] == "linear":
                x = nn.functional.linear(x, self.head[f"{name}.weight"], self.head[f"{name}.bias"])
            elif step["kind"] == "gelu":
                x = nn.functional.gelu(x)
            else:
                x = nn.functional.normalize(x, dim=-1)
        return x

    def predict(self, texts: list) -> list[dict]:
        """label (None where it is less sure than `abstain_below`), best, probabilities; of several
        labels labels and probabilities; of a number value, low and high."""
        answer = {"labels": self._labels, "number": self._number}
        return answer.get(self.about["answers"], self._label)(self.logits(texts).double())

    def _label(self, logits: Tensor) -> list[dict]:
        rule, names = self.about["decision"], self.about["outputs"]
        chances = (logits / rule.get("temperature", 1.0)).softmax(-1)
        answers = []
        for row, best in zip(chances, self._best(chances).tolist(), strict=True):
            sure = row[best] >= rule.get("abstain_below", 0.0)
            answers.append(
                {
                    "label": names[best] if sure else None,
                    "best": names[best],
                    "probabilities": dict(zip(names, row.tolist(), strict=True)),
                }
            )
        return answers

    def _best(self, chances: Tensor) -> Tensor:
        rule, names = self.about["decision"], self.about["outputs"]
        how = rule.get("rule", "mode")
        if how == "mode":
            weights = torch.tensor([rule.get("weights", {}).get(name, 1.0) for name in names])
            return (chances * weights).argmax(-1)
        if how == "median":
            reached = chances.cumsum(-1) >= 0.5
            reached[:, -1] = True
            return reached.int().argmax(-1)
        place = chances @ torch.arange(len(names), dtype=chances.dtype)
        if how == "mean":
            return (place + 0.5).floor().clamp(0, len(names) - 1).long()
        return torch.searchsorted(torch.tensor(rule["cuts"], dtype=place.dtype), place, right=True)

    def _labels(self, logits: Tensor) -> list[dict]:
        rule, names = self.about["decision"], self.about["outputs"]
        offsets, least = rule.get("offsets", {}), rule.get("thresholds", {})
        shift = torch.tensor([offsets.get(name, 0.0) for name in names], dtype=logits.dtype)
        chances = torch.sigmoid(rule.get("slope", 1.0) * logits + shift)
        answers = []
        for row in chances.tolist():
            stated = dict(zip(names, row, strict=True))
            given = [name for name, chance in stated.items() if chance >= least.get(name, 0.5)]
            answers.append({"labels": given, "probabilities": stated})
        return answers

    def _number(self, logits: Tensor) -> list[dict]:
        half = self.about["decision"].get("half_width", 0.0)
        values = logits[:, 0].tolist()
        return [{"value": value, "low": value - half, "high": value + half} for value in values]


if __name__ == "__main__":
    model, asked = Model(Path(__file__).parent), sys.argv[1:]
    if model.about.get("reads", "text") != "text":
        if len(asked) % 2:
            sys.exit(f"Pairs are taken of two texts each, and {len(asked)} were given.")
        asked = list(zip(asked[::2], asked[1::2], strict=True))
    for answer in model.predict(asked):
        sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
