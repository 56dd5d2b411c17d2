"""Train a small language model with the Trainer of Hugging Face: on a GPU where there is one, on the CPU else.

Replace `text` and `model` by your own (AutoModelForCausalLM.from_pretrained and its tokeniser). What makes it a job
that can be moved: figures go to metrics.jsonl, the Trainer writes checkpoints, SIGUSR1 asks for one, and
STOKER_RESUME_FROM names the one to go on from.
"""

import argparse
import json
import os
import signal
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments, set_seed

LENGTH = 64


def text():
    """What is learnt: a sentence of bytes, over and over with different numbers."""
    return "".join(f"The square of {n} is {n * n}. " for n in range(1000)).encode()


class Windows(torch.utils.data.Dataset):
    """Pieces of the text, LENGTH bytes each: each byte is a token."""

    def __init__(self, content):
        self.content = content

    def __len__(self):
        return len(self.content) // LENGTH

    def __getitem__(self, at):
        piece = torch.tensor(list(self.content[at * LENGTH : (at + 1) * LENGTH]))
        return {"input_ids": piece, "labels": piece}


def model():
    """A small GPT-2 with one token for each byte."""
    return GPT2LMHeadModel(GPT2Config(vocab_size=256, n_positions=LENGTH, n_embd=64, n_layer=2, n_head=4))


class Figures(TrainerCallback):
    """Figures to metrics.jsonl, and a checkpoint for each SIGUSR1."""

    def __init__(self):
        self.asked = []
        signal.signal(signal.SIGUSR1, lambda number, frame: self.asked.append(True))

    def on_log(self, args, state, control, logs=None, **kwargs):
        figures = {name: value for name, value in (logs or {}).items() if isinstance(value, (int, float))}
        with open("metrics.jsonl", "a") as metrics:
            metrics.write(json.dumps({"step": state.global_step, **figures}) + "\n")
        print(f"step {state.global_step} " + " ".join(f"{n} {v:.4g}" for n, v in figures.items()), flush=True)

    def on_step_end(self, args, state, control, **kwargs):
        if self.asked:
            self.asked.clear()
            control.should_save = True
        return control


def newest():
    """The checkpoint that STOKER_RESUME_FROM names, or the newest below it; None: from the start."""
    place = os.environ.get("STOKER_RESUME_FROM")
    found = [state.parent for state in Path(place).rglob("trainer_state.json")] if place else []
    return max(found, key=lambda folder: int(folder.name.rpartition("-")[2]), default=None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--lr", type=float, default=0.003)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--checkpoint-every", type=int, default=50, help="steps")
    options = parser.parse_args()

    set_seed(options.seed)
    settings = TrainingArguments(
        output_dir="checkpoints",
        max_steps=options.steps,
        learning_rate=options.lr,
        seed=options.seed,
        per_device_train_batch_size=16,
        logging_steps=10,
        save_steps=options.checkpoint_every,
        save_total_limit=2,
        warmup_steps=20,
        report_to=[],
        disable_tqdm=True,
    )
    trainer = Trainer(model=model(), args=settings, train_dataset=Windows(text()), callbacks=[Figures()])
    begin = newest()
    print(f"on {settings.device}, from {begin.name if begin else 'the start'}", flush=True)
    trainer.train(resume_from_checkpoint=str(begin) if begin else None)


if __name__ == "__main__":
    main()
