"""A run's result with everything in it; tests take parts away."""

import math
from typing import Any

VERDICTS: list[dict[str, Any]] = [
    {"criterion": "accuracy >= 0.80", "value": 0.842, "low": 0.811, "high": 0.870, "n": 620,
     "state": "met", "more": None, "more_of": "", "note": ""},
    {"criterion": "recall[label=refund] >= 0.90", "value": 0.913, "low": 0.820, "high": 0.968,
     "n": 69, "state": "unproven", "more": [110, 190], "more_of": "label=refund", "note": ""},
    {"criterion": "accuracy >= baseline + 0.03", "value": 0.052, "low": 0.031, "high": 0.073,
     "n": 620, "state": "met", "more": None, "more_of": "", "note": ""},
    {"criterion": "latency_p95_ms <= 20", "value": 6.1, "low": 5.8, "high": 6.6, "n": 6,
     "state": "met", "more": None, "more_of": "",
     "note": "this machine, batch 1, 2 threads"},
    {"criterion": "size_mb <= 20", "value": 31.4, "low": 31.4, "high": 31.4, "n": 0,
     "state": "unmet", "more": None, "more_of": "", "note": ""},
]  # fmt: skip

LABELS = ["refund", "invoice", "delivery", "登录问题", "other"]


def history(steps: int, best: float) -> list[dict[str, float]]:
    return [
        {
            "step": step,
            "loss": best * 0.6 + 0.9 * math.exp(-step / 30),
            "validation_loss": best + 0.6 * math.exp(-step / 25) + 0.0004 * step,
            "accuracy": 0.84 - 0.3 * math.exp(-step / 20),
        }
        for step in range(0, steps, 5)
    ]


def full_result() -> dict[str, Any]:
    """Fresh each time, so that a test may change it."""
    return {
        "run": 7,
        "name": "tickets",
        "task": "text_classification",
        "state": "unmet",
        "released": False,
        "bundle": ".sartor/bundles/tickets-3f2a",
        "bundle_id": "3f2a9c41d0",
        "need": "name: tickets\ntask: text_classification\naccept:\n  - accuracy >= 0.80\n",
        "started": "2026-11-03T09:14:02+00:00",
        "finished": "2026-11-03T09:15:23+00:00",
        "seconds": 81.2,
        "seed": 0,
        "machine": {"cpu": "AMD EPYC 9R14", "threads": 2},
        "verdicts": [dict(verdict) for verdict in VERDICTS],
        "data": {
            "read": 3214, "kept": 3102, "train": 1862, "validation": 620, "test": 620,
            "dropped": {"duplicate": 62, "near duplicate": 19, "empty text": 19,
                        "conflicting labels": 12},
            "changed": {"spaces collapsed": 240, "Unicode composed (NFC)": 7},
            "examples_dropped": [
                {"file": "tickets.csv", "row": 4812, "reason": "duplicate",
                 "detail": "of tickets.csv, row 17", "text": "Where is my parcel?"},
                {"file": "tickets.csv", "row": 90, "reason": "conflicting labels",
                 "detail": "'refund' here, 'other' at tickets.csv, row 91", "text": "退款还没到账"},
            ],
            "labels": {"refund": 690, "invoice": 812, "delivery": 930, "登录问题": 410,
                       "other": 260},
            "languages": {"zh": 0.81, "en": 0.19},
        },
        "plan": [
            {"rung": "head", "label": "frozen head, e5-small", "seconds": [15, 40],
             "memory_mb": [800, 900], "size_mb": [31, 31]},
            {"rung": "lora", "label": "lora, e5-small", "seconds": [360, 540],
             "memory_mb": [1700, 1900], "size_mb": [31, 31]},
            {"rung": "full", "label": "full, e5-small", "seconds": [700, 1500],
             "memory_mb": [2600, 3100], "size_mb": [118, 470]},
        ],
        "candidates": [
            {"rung": "head", "label": "frozen head, layers 3–6",
             "scores": {"accuracy": 0.838, "recall[label=refund]": 0.88}, "chance": 0.41,
             "seconds": 24.2, "latency_ms": 9.4, "size_mb": 118.0, "state": "tried",
             "why": "recall[label=refund] is too low"},
            {"rung": "head", "label": "frozen head, last layer",
             "scores": {"accuracy": 0.801, "recall[label=refund]": 0.83}, "chance": 0.08,
             "seconds": 1.1, "latency_ms": 9.3, "size_mb": 118.0, "state": "tried"},
            {"rung": "lora", "label": "lora, e5-small, rank 8",
             "scores": {"accuracy": 0.851, "recall[label=refund]": 0.92}, "chance": 0.93,
             "seconds": 402.0, "latency_ms": 9.5, "size_mb": 118.0, "history": history(200, 0.42),
             "chosen": True, "state": "tried"},
            {"rung": "full", "label": "full, e5-small", "scores": {}, "chance": None,
             "seconds": None, "state": "skipped", "why": "an earlier rung holds every criterion"},
        ],
        "artefacts": [
            {"name": "onnx", "size_mb": 470.0, "latency_p95_ms": 11.2, "agreement": 1.0,
             "worst_drop": 0.0, "kept": False, "why": "size_mb <= 20 cannot hold"},
            {"name": "int8", "size_mb": 31.4, "latency_p95_ms": 6.1, "agreement": 0.994,
             "worst_drop": 0.003, "kept": True, "why": ""},
        ],
        "failed_forms": {"fp16": "The compressed graph is not valid ONNX: <node>."},
        "confusion": {
            "labels": LABELS,
            "counts": [[63, 3, 1, 0, 2], [4, 150, 2, 1, 5], [2, 3, 175, 0, 6],
                       [0, 1, 0, 78, 3], [9, 14, 12, 6, 80]],
        },
        "gap": {"metric": "accuracy", "train": 0.902, "validation": 0.851, "test": 0.842},
        "errors": [
            {"text": "I was charged twice and nobody answers my mails.", "label": "refund",
             "answer": "invoice", "confidence": 0.97, "id": "r-118"},
            {"text": "验证码一直收不到，换手机也不行。", "label": "other", "answer": "登录问题",
             "confidence": 0.95, "id": "r-402"},
            {"text": "cancel", "label": "other", "answer": None, "confidence": 0.44, "id": "r-9"},
        ],
        "next_steps": [
            {"what": "Label 110 to 190 more rows with label=refund.",
             "command": "sartor data label --where 'label=refund' --n 150",
             "cost": "about 40 minutes of labelling"},
            {"what": "Trim the vocabulary.", "command": "sartor run need.yaml --from lora",
             "cost": "+7 min"},
        ],
        "labels": [
            {"criterion": "recall[label=refund] >= 0.90", "label": "refund", "rows": 480,
             "value": 0.913, "target": 0.942, "low": 210, "high": 1400, "chance": 0.9,
             "words": "recall[label=refund] >= 0.90: 210 to 1,400 further rows",
             "cost": "about 6 hours of labelling",
             "measured": {"rows": [48, 96, 192, 384, 480], "value": [0.7, 0.78, 0.85, 0.9, 0.91],
                          "low": [0.64, 0.73, 0.81, 0.87, 0.88],
                          "high": [0.76, 0.83, 0.89, 0.93, 0.94]},
             "expected": {"rows": [48, 480, 1000, 2000], "value": [0.7, 0.91, 0.94, 0.95],
                          "low": [0.66, 0.88, 0.91, 0.92], "high": [0.74, 0.93, 0.96, 0.98]}},
        ],
        "search": {
            "why": "the last 10 trials gave no better chance",
            "by": "PED-ANOVA",
            "importances": [
                {"rung": "lora", "backbone": "e5-small", "trials": 31,
                 "shares": {"rank": 0.12, "lr": 0.81, "epochs": 0.07}},
                {"rung": "full", "backbone": "e5-small", "trials": 3, "shares": {}},
            ],
        },
        "left_out": [
            {"rung": "full", "label": "large", "why": "size_mb <= 20 is out of reach: <large>"},
        ],
        "looks": 2,
        "cost": {"seconds": 431.0, "money": None},
        "encoder_note": "81 % of the rows are Chinese, so e5-small was taken before MiniLM.",
    }  # fmt: skip
