"""Train an object detector with Ultralytics YOLO: on a GPU where there is one, on the CPU else.

Without --data it makes pictures of squares and learns to find them. What makes it a job that can be moved: figures go
to metrics.jsonl, a checkpoint is written after each epoch, and STOKER_RESUME_FROM names the one to go on from.
"""

import argparse
import json
import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from ultralytics import YOLO


def squares(folder, count=32, size=64):
    """Pictures with a bright square each, and where it is, in the form that YOLO reads; returns the data file."""
    draw = np.random.default_rng(1)
    for part in ("train", "val"):
        for at in range(count):
            side, (x, y) = int(draw.integers(12, 28)), draw.integers(0, size - 28, 2)
            picture = draw.integers(0, 80, (size, size, 3), dtype=np.uint8)
            picture[y : y + side, x : x + side] = draw.integers(150, 255, 3)
            image, label = folder / "images" / part / f"{at}.png", folder / "labels" / part / f"{at}.txt"
            for path in (image, label):
                path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(image)
            label.write_text(f"0 {(x + side / 2) / size} {(y + side / 2) / size} {side / size} {side / size}\n")
    data = folder / "data.yaml"
    data.write_text(f"path: {folder.resolve()}\ntrain: images/train\nval: images/val\nnames: {{0: square}}\n")
    return data


def figures(trainer):
    """After each epoch: its figures to metrics.jsonl, and as a line."""
    if trainer.epoch >= trainer.epochs:
        return  # the last validation, of the best weights
    told = {**trainer.label_loss_items(trainer.tloss, prefix="train"), **trainer.metrics}
    told = {name: float(value) for name, value in told.items()}
    with open("metrics.jsonl", "a") as metrics:
        metrics.write(json.dumps({"step": trainer.epoch + 1, **told}) + "\n")
    print(f"epoch {trainer.epoch + 1} " + " ".join(f"{n} {v:.4g}" for n, v in told.items()), flush=True)


def keep(trainer):
    """After each epoch: a copy of its checkpoint in checkpoints/, whole or not there. The last two are kept."""
    folder = Path("checkpoints")
    folder.mkdir(exist_ok=True)
    shutil.copy(trainer.last, folder / "epoch.tmp")
    (folder / "epoch.tmp").replace(folder / f"epoch-{trainer.epoch + 1}.pt")
    for old in sorted(folder.glob("epoch-*.pt"), key=lambda path: int(path.stem[6:]))[:-2]:
        old.unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--data", help="a data file of YOLO")
    parser.add_argument("--model", default="yolo11n.yaml", help="yolo11n.pt begins with trained weights")
    parser.add_argument("--size", type=int, default=64, help="of pictures, in pixels")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    place = Path(os.environ.get("STOKER_RESUME_FROM") or "nowhere")
    found = place if place.is_file() else None
    print(f"from {found or 'the start'}", flush=True)
    model = YOLO(found or options.model)
    if found and model.ckpt["epoch"] + 1 >= model.ckpt["train_args"]["epochs"]:
        print("its training is over: nothing is left to do", flush=True)
        return
    model.add_callback("on_fit_epoch_end", figures)
    model.add_callback("on_model_save", keep)
    model.train(
        data=options.data or str(squares(Path("squares"))), epochs=options.epochs, imgsz=options.size,
        seed=options.seed, save_dir=str(Path("runs/train").resolve()), exist_ok=True, resume=bool(found),
        plots=False, workers=0,
    )  # fmt: skip


if __name__ == "__main__":
    main()
