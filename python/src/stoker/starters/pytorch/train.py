"""Train a small network with PyTorch: on a GPU where there is one, on the CPU else.

Replace `data` and `network` by your own. What makes it a job that can be moved: figures go to metrics.jsonl,
checkpoints are written whole, SIGUSR1 asks for one, and STOKER_RESUME_FROM names the one to go on from.
"""

import argparse
import json
import os
import signal
from pathlib import Path

import torch
from torch import nn


def data(count, generator):
    """Points of two spirals, and to which of the two each belongs."""
    label = torch.randint(0, 2, (count,), generator=generator)
    turn = torch.rand(count, generator=generator) * 3 + 0.3
    angle = turn * 2 + label * torch.pi
    noise = torch.randn(count, 2, generator=generator) * 0.1
    return torch.stack([turn * torch.cos(angle), turn * torch.sin(angle)], dim=1) + noise, label


def network():
    """Two hidden layers."""
    return nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))


def save(folder, step, model, optimiser, generator):
    """Write a checkpoint: a reader finds all of it or nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {"step": step, "model": model.state_dict(), "optimiser": optimiser.state_dict()}
    temporary = folder / f"step-{step:08d}.tmp"
    torch.save({**state, "generator": generator.get_state()}, temporary)
    temporary.replace(folder / f"step-{step:08d}.pt")
    for old in sorted(folder.glob("step-*.pt"))[:-2]:
        old.unlink()


def resume(model, optimiser, generator):
    """Take up the checkpoint that STOKER_RESUME_FROM names, or the newest below it; returns the steps behind it."""
    place = Path(os.environ.get("STOKER_RESUME_FROM") or "nowhere")
    found = [place] if place.is_file() else sorted(place.rglob("step-*.pt"))
    if not found:
        return 0
    state = torch.load(found[-1], map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    generator.set_state(state["generator"])
    return state["step"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--lr", type=float, default=0.003)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--checkpoint-every", type=int, default=200, help="steps")
    options = parser.parse_args()

    asked = []
    signal.signal(signal.SIGUSR1, lambda number, frame: asked.append(True))
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    test_points, test_labels = (each.to(device) for each in data(500, torch.Generator().manual_seed(0)))
    model = network().to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=options.lr)
    begin = resume(model, optimiser, generator)
    print(f"on {device}, from step {begin}", flush=True)

    with open("metrics.jsonl", "a" if begin else "w", buffering=1) as metrics:
        for step in range(begin + 1, options.steps + 1):
            points, labels = (each.to(device) for each in data(128, generator))
            loss = nn.functional.cross_entropy(model(points), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            last = step == options.steps
            if step % 50 == 0 or last:
                with torch.no_grad():
                    accuracy = (model(test_points).argmax(1) == test_labels).float().mean().item()
                metrics.write(json.dumps({"step": step, "loss": loss.item(), "accuracy": accuracy}) + "\n")
                print(f"step {step} loss {loss.item():.4f} accuracy {accuracy:.3f}", flush=True)
            if asked or last or step % options.checkpoint_every == 0:
                asked.clear()
                save(Path("checkpoints"), step, model, optimiser, generator)


if __name__ == "__main__":
    main()
