"""Train a small network with JAX: on a GPU where there is one, on the CPU else.

Replace `data` and `network` by your own. What makes it a job that can be moved: figures go to metrics.jsonl,
checkpoints are written whole, SIGUSR1 asks for one, and STOKER_RESUME_FROM names the one to go on from.
"""

import argparse
import json
import os
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

SIZES = (2, 64, 64, 2)


def data(count, key):
    """Points of two spirals, and to which of the two each belongs."""
    which, far, off = jax.random.split(key, 3)
    label = jax.random.randint(which, (count,), 0, 2)
    turn = jax.random.uniform(far, (count,)) * 3 + 0.3
    angle = turn * 2 + label * jnp.pi
    points = jnp.stack([turn * jnp.cos(angle), turn * jnp.sin(angle)], axis=1)
    return points + jax.random.normal(off, (count, 2)) * 0.1, label


def network(key):
    """Two hidden layers: a list of weights and biases."""
    keys = jax.random.split(key, len(SIZES) - 1)
    pairs = zip(keys, SIZES[:-1], SIZES[1:])
    return [{"w": jax.random.normal(k, (a, b)) * (2 / a) ** 0.5, "b": jnp.zeros(b)} for k, a, b in pairs]


def answer(layers, points):
    """A score for each of the two spirals."""
    for layer in layers[:-1]:
        points = jax.nn.relu(points @ layer["w"] + layer["b"])
    return points @ layers[-1]["w"] + layers[-1]["b"]


def loss_of(layers, points, labels):
    """Mean cross entropy."""
    return -jnp.take_along_axis(jax.nn.log_softmax(answer(layers, points)), labels[:, None], axis=1).mean()


@jax.jit
def update(layers, speeds, key, rate):
    """One step of gradient descent with momentum on a fresh batch."""
    loss, gradients = jax.value_and_grad(loss_of)(layers, *data(128, key))
    speeds = jax.tree.map(lambda speed, gradient: 0.9 * speed + gradient, speeds, gradients)
    return jax.tree.map(lambda weight, speed: weight - rate * speed, layers, speeds), speeds, loss


@jax.jit
def accuracy_of(layers, points, labels):
    """How many of the points are given to the right spiral."""
    return (answer(layers, points).argmax(1) == labels).mean()


def save(folder, step, trees):
    """Write a checkpoint: a reader finds all of it or nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"step-{step:08d}.tmp"
    with temporary.open("wb") as file:
        np.savez(file, step=step, **{f"leaf{at}": leaf for at, leaf in enumerate(jax.tree.leaves(trees))})
    temporary.replace(folder / f"step-{step:08d}.npz")
    for old in sorted(folder.glob("step-*.npz"))[:-2]:
        old.unlink()


def resume(trees):
    """The checkpoint that STOKER_RESUME_FROM names, or the newest below it, and the steps that are behind it."""
    place = Path(os.environ.get("STOKER_RESUME_FROM") or "nowhere")
    found = [place] if place.is_file() else sorted(place.rglob("step-*.npz"))
    if not found:
        return trees, 0
    with np.load(found[-1]) as saved:
        leaves = [jnp.asarray(saved[f"leaf{at}"]) for at in range(len(jax.tree.leaves(trees)))]
        return jax.tree.unflatten(jax.tree.structure(trees), leaves), int(saved["step"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--lr", type=float, default=0.03)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--checkpoint-every", type=int, default=200, help="steps")
    options = parser.parse_args()

    asked = []
    signal.signal(signal.SIGUSR1, lambda number, frame: asked.append(True))
    key = jax.random.key(options.seed)
    test = data(500, jax.random.key(0))
    layers = network(key)
    (layers, speeds), begin = resume((layers, jax.tree.map(jnp.zeros_like, layers)))
    print(f"on {jax.devices()[0].platform}, from step {begin}", flush=True)

    with open("metrics.jsonl", "a" if begin else "w", buffering=1) as metrics:
        for step in range(begin + 1, options.steps + 1):
            # The batch of a step depends on its number alone: a job that goes on sees the same ones.
            layers, speeds, loss = update(layers, speeds, jax.random.fold_in(key, step), options.lr)
            last = step == options.steps
            if step % 50 == 0 or last:
                accuracy = float(accuracy_of(layers, *test))
                metrics.write(json.dumps({"step": step, "loss": float(loss), "accuracy": accuracy}) + "\n")
                print(f"step {step} loss {float(loss):.4f} accuracy {accuracy:.3f}", flush=True)
            if asked or last or step % options.checkpoint_every == 0:
                asked.clear()
                save(Path("checkpoints"), step, (layers, speeds))


if __name__ == "__main__":
    main()
