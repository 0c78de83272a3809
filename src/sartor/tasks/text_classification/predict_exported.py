"""Answer texts with the model in this folder: python predict.py "a text" "another".

Needs torch, transformers and safetensors, nothing else. head.json says how texts are read, which
hidden states are averaged over the tokens, what follows them, and the decision rule.
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
        self.encoder = AutoModel.from_pretrained(folder, dtype=torch.float32, **without).eval()
        self.head = load_file(folder / "head.safetensors")

    @torch.inference_mode()
    def logits(self, texts: list[str]) -> Tensor:
        """(texts, labels), before the decision rule."""
        about = self.about
        read = self.tokenizer(
            [about["prefix"] + text for text in texts],
            padding=True,
            truncation=True,
            max_length=about["max_length"],
            return_tensors="pt",
        )
        ids, mask = read["input_ids"], read["attention_mask"]
        layers, top = about["layers"], self.encoder.config.num_hidden_layers
        found = self.encoder(
            input_ids=ids, attention_mask=mask, output_hidden_states=layers != [top]
        )
        if layers == [top]:
            # Some encoders normalise their last state once more.
            chosen = [found.last_hidden_state]
        else:
            chosen = [found.hidden_states[layer] for layer in layers]
        real = mask.unsqueeze(-1).to(torch.float32)
        means = [(state.float() * real).sum(1) / real.sum(1).clamp(min=1) for state in chosen]
        return self._headed(torch.cat(means, dim=-1))

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

    def predict(self, texts: list[str]) -> list[dict]:
        """label (None where it is less sure than `abstain_below`), best, probabilities."""
        rule, names = self.about["decision"], self.about["outputs"]
        chances = (self.logits(texts).double() / rule["temperature"]).softmax(-1)
        weights = torch.tensor([rule["weights"].get(name, 1.0) for name in names])
        answers = []
        for row, best in zip(chances, (chances * weights).argmax(-1).tolist(), strict=True):
            sure = row[best] >= rule["abstain_below"]
            answers.append(
                {
                    "label": names[best] if sure else None,
                    "best": names[best],
                    "probabilities": dict(zip(names, row.tolist(), strict=True)),
                }
            )
        return answers


if __name__ == "__main__":
    for answer in Model(Path(__file__).parent).predict(sys.argv[1:]):
        sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
