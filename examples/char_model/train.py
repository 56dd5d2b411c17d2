"""Train a character model on a text, by real gradient descent, with nothing but the standard library.

The model guesses the next character from the last few: each place of the context has its own table of vectors (an
embedding), the vectors are summed, and a tanh layer and a softmax follow. Adagrad, warm-up, then a cosine down.
Progress lines are printed without a flush on purpose: whoever runs this has to make them visible in time.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import signal
import time
from operator import mul
from pathlib import Path
from typing import Any, Callable, List

CONTEXT = 5
HIDDEN = 48
BATCH = 72
WARMUP_STEPS = 50
RECORD_EVERY = 10
REPORT_EVERY = 50
CHECKPOINT_EVERY = 200
VALIDATION_SAMPLES = 500

Vector = List[float]


class Text:
    """The text as numbers; its last tenth is kept for validation."""

    def __init__(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8").lower()
        self.alphabet = sorted(set(text))
        number = {character: index for index, character in enumerate(self.alphabet)}
        self.codes = [number[character] for character in text]
        self.split = len(self.codes) * 9 // 10

    def sample(self, position: int) -> tuple[list[int], int]:
        """The context that ends before `position`, and the character that stands there."""
        return self.codes[position - CONTEXT : position], self.codes[position]

    def batch(self, rng: random.Random) -> list[tuple[list[int], int]]:
        """BATCH random samples of the training part."""
        return [self.sample(rng.randrange(CONTEXT, self.split)) for _ in range(BATCH)]

    def validation(self) -> list[tuple[list[int], int]]:
        """The same samples each time, spread evenly over the last tenth."""
        first, last = self.split + CONTEXT, len(self.codes)
        stride = max(1, (last - first) // VALIDATION_SAMPLES)
        return [self.sample(position) for position in range(first, last, stride)]


class Model:
    """The weights as rows of floats, and what Adagrad remembers of each."""

    def __init__(self, size: int, rng: random.Random) -> None:
        self.size = size
        embeddings = [[rng.gauss(0, 0.3) for _ in range(HIDDEN)] for _ in range(CONTEXT * size)]
        outputs = [[rng.gauss(0, 0.1) for _ in range(HIDDEN)] for _ in range(size)]
        # Row numbers: embeddings by place and character, then one output row per character, then the two biases.
        self.rows: list[Vector] = [*embeddings, *outputs, [0.0] * HIDDEN, [0.0] * size]
        self.squares: list[Vector] = [[1e-8] * len(row) for row in self.rows]
        self.first_output = CONTEXT * size
        self.hidden_bias = self.first_output + size
        self.output_bias = self.hidden_bias + 1

    def forward(self, context: list[int]) -> tuple[list[int], Vector, Vector]:
        """The rows used, the hidden layer, and a probability for each character."""
        used = [place * self.size + code for place, code in enumerate(context)]
        vectors = [self.rows[row] for row in used]
        hidden = [math.tanh(total) for total in map(sum, zip(self.rows[self.hidden_bias], *vectors))]
        outputs = self.rows[self.first_output : self.hidden_bias]
        bias = self.rows[self.output_bias]
        scores = [sum(map(mul, row, hidden)) + b for row, b in zip(outputs, bias)]
        top = max(scores)
        weights = [math.exp(score - top) for score in scores]
        total = sum(weights)
        return used, hidden, [weight / total for weight in weights]

    def loss(self, samples: list[tuple[list[int], int]]) -> float:
        """Mean cross entropy, in nats per character."""
        return -sum(math.log(self.forward(context)[2][target]) for context, target in samples) / len(samples)

    def gradients(self, samples: list[tuple[list[int], int]]) -> tuple[float, dict[int, Vector]]:
        """The loss, and its gradient for every row that had a part in it."""
        loss = 0.0
        gradients: dict[int, Vector] = {row: [0.0] * HIDDEN for row in range(self.first_output, self.hidden_bias + 1)}
        gradients[self.output_bias] = [0.0] * self.size
        for context, target in samples:
            used, hidden, errors = self.forward(context)
            loss -= math.log(errors[target])
            errors[target] -= 1.0
            back = [0.0] * HIDDEN
            for code, error in enumerate(errors):
                row = self.first_output + code
                gradients[row] = [g + error * h for g, h in zip(gradients[row], hidden)]
                back = [b + error * w for b, w in zip(back, self.rows[row])]
            back = [b * (1.0 - h * h) for b, h in zip(back, hidden)]
            gradients[self.output_bias] = [g + e for g, e in zip(gradients[self.output_bias], errors)]
            for row in (*used, self.hidden_bias):
                gradients[row] = [g + b for g, b in zip(gradients[row], back)] if row in gradients else back
        count = len(samples)
        return loss / count, {row: [g / count for g in gradient] for row, gradient in gradients.items()}

    def descend(self, gradients: dict[int, Vector], rate: float) -> None:
        """One step of Adagrad."""
        for row, gradient in gradients.items():
            squares = [s + g * g for s, g in zip(self.squares[row], gradient)]
            self.squares[row] = squares
            self.rows[row] = [w - rate * g / math.sqrt(s) for w, g, s in zip(self.rows[row], gradient, squares)]


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Up in a line for WARMUP_STEPS, then down to a tenth of `peak` in half a cosine."""
    if step <= WARMUP_STEPS:
        return peak * step / WARMUP_STEPS
    done = (step - WARMUP_STEPS) / max(1, steps - WARMUP_STEPS)
    return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))


def save(path: Path, step: int, model: Model, rng: random.Random) -> None:
    """Write the checkpoint so that a reader finds the old one or the new one, never half of one."""
    state = {"step": step, "rows": model.rows, "squares": model.squares, "random": rng.getstate()}
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(state))
    temporary.replace(path)


def load(path: Path, model: Model, rng: random.Random) -> int:
    """Take up a checkpoint, given as its file or its folder; returns the steps that it has behind it."""
    state: dict[str, Any] = json.loads((path / "checkpoint.json" if path.is_dir() else path).read_text())
    if [len(row) for row in state["rows"]] != [len(row) for row in model.rows]:
        raise SystemExit(f"{path} belongs to another model or text")
    model.rows, model.squares = state["rows"], state["squares"]
    version, numbers, gauss = state["random"]
    rng.setstate((version, tuple(numbers), gauss))
    return int(state["step"])


def continue_text(model: Model, text: Text, rng: random.Random, length: int = 60) -> str:
    """What the model writes when left alone."""
    codes = text.codes[:CONTEXT]
    for _ in range(length):
        chances = model.forward(codes[-CONTEXT:])[2]
        codes += rng.choices(range(len(chances)), weights=[chance**1.5 for chance in chances])
    return " ".join("".join(text.alphabet[code] for code in codes).split())


def train(options: argparse.Namespace, checkpoint_wanted: Callable[[], bool]) -> None:
    """Train from the start or from the checkpoint that STOKER_RESUME_FROM names."""
    text = Text(options.text)
    rng = random.Random(options.seed)
    model = Model(len(text.alphabet), rng)
    resume = os.environ.get("STOKER_RESUME_FROM")
    begin = load(Path(resume), model, rng) if resume else 0
    options.out.mkdir(parents=True, exist_ok=True)
    checkpoint = options.out / "checkpoint.json"
    weights = sum(map(len, model.rows))
    print(f"{len(text.codes)} characters, {len(text.alphabet)} different; {weights} weights; from step {begin}")
    validation = text.validation()
    losses: list[float] = []
    started = time.monotonic()
    with (options.out / "metrics.jsonl").open("a" if resume else "w", buffering=1) as metrics:
        for step in range(begin + 1, options.steps + 1):
            rate = learning_rate(step, options.steps, options.lr)
            loss, gradients = model.gradients(text.batch(rng))
            model.descend(gradients, rate)
            losses.append(loss)
            last = step == options.steps
            if step % RECORD_EVERY == 0 or step == 1 or last:
                speed = (step - begin) / (time.monotonic() - started)
                mean = sum(losses) / len(losses)
                losses.clear()
                record = {"step": step, "loss": round(mean, 4), "lr": round(rate, 5), "steps_per_s": round(speed, 1)}
                if step % REPORT_EVERY == 0 or step == 1 or last:
                    record["val_loss"] = round(model.loss(validation), 4)
                    figures = f"loss {mean:.3f}  val {record['val_loss']:.3f}  lr {rate:.3f}  {speed:.0f} steps/s"
                    print(f"step {step}/{options.steps}  {figures}")
                metrics.write(json.dumps(record) + "\n")
            if checkpoint_wanted() or last or step % CHECKPOINT_EVERY == 0:
                save(checkpoint, step, model, rng)
    print(f"it writes: {continue_text(model, text, random.Random(options.seed))}")
    print(f"checkpoint {checkpoint}")


def checkpoint_requests() -> Callable[[], bool]:
    """Ask it after each step: it is true once for each SIGUSR1. A signal may come in the middle of a step."""
    asked: list[bool] = []
    signal.signal(signal.SIGUSR1, lambda number, frame: asked.append(True))
    return lambda: bool(asked) and asked.pop()


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="Train a small character model on a text.")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--lr", type=float, default=0.15, help="the highest learning rate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--text", type=Path, default=Path(__file__).resolve().with_name("alice.txt"))
    out = Path("runs", os.environ.get("STOKER_JOB", "char_model"))
    parser.add_argument("--out", type=Path, default=out, help="folder for metrics.jsonl and checkpoint.json")
    train(parser.parse_args(), checkpoint_requests())


if __name__ == "__main__":
    main()
