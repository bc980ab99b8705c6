"""One training loop for every model, on one CPU, one GPU or many (accelerate).

A model brings a `Task`: its module, its batches, its losses, its evaluation. The loop brings the optimiser, the schedule,
the moving average of the weights, checkpoints, logs and a plot. Batches are a function of (seed, step, rank), so a run that
was stopped at step n goes on as if it had not been.
"""

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class LoopConfig:
    """How long and how. steps: optimiser updates. batch: rows per process. ema: decay of the weights' moving average."""

    steps: int = 4000
    batch: int = 24
    lr: float = 5e-4
    warmup: int = 100
    final_lr: float = 0.05  # share of lr left at the last step, reached along a cosine
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema: float = 0.998
    evaluate_every: int = 250
    save_every: int = 100
    seed: int = 0
    precision: str = "no"  # accelerate's mixed precision: no, bf16, fp16
    compile: bool = False
    threads: int = 0  # CPU threads; 0 leaves torch's choice


class Task(Protocol):
    """What a model brings to the loop."""

    weights: dict[str, float]  # of the losses, by the names that `losses` uses

    @property
    def model(self) -> nn.Module:
        """What is trained."""
        ...

    def batch(self, generator: torch.Generator, size: int) -> dict[str, Tensor]:
        """Draw a batch on the CPU; all randomness from the generator."""
        ...

    def losses(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scalar losses by name."""
        ...

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Figures on validation data; "score" is the one to maximise."""
        ...

    def save(self, model: nn.Module, path: Path) -> None:
        """Write the model as a checkpoint of its own kind."""
        ...


def train(task: Task, config: LoopConfig, out: Path) -> dict[str, float]:
    """Train to config.steps, going on from `out` if it holds a run; returns the best figures.

    Writes into `out`: state.pt (to go on), last.safetensors, best.safetensors, log.jsonl, loss.png.
    """
    from accelerate import Accelerator

    if config.threads:
        torch.set_num_threads(config.threads)
    accelerator = Accelerator(mixed_precision=config.precision)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    optimiser = torch.optim.AdamW(_groups(task.model, config), lr=config.lr, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, config))
    average = torch.optim.swa_utils.AveragedModel(
        task.model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(config.ema)
    ).to(accelerator.device)
    model, optimiser = accelerator.prepare(task.model, optimiser)
    core = accelerator.unwrap_model(model)
    forward: Any = torch.compile(model) if config.compile else model
    step, best = _resume(out, core, average, optimiser, schedule, accelerator.device)
    started, since = time.monotonic(), step
    while step < config.steps:
        generator = torch.Generator().manual_seed(hash((config.seed, step, accelerator.process_index)) % 2**63)
        batch = {name: value.to(accelerator.device) for name, value in task.batch(generator, config.batch).items()}
        model.train()
        torch.manual_seed(
            hash((config.seed, step, accelerator.process_index, 1)) % 2**63
        )  # dropout, too, can be repeated
        with accelerator.autocast():
            losses = task.losses(forward, batch)
            total = torch.stack([task.weights[name] * value for name, value in losses.items()]).sum()
        accelerator.backward(total)
        accelerator.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        average.update_parameters(core)
        step += 1
        if not accelerator.is_main_process:
            continue
        if step % 10 == 0 or step == config.steps:
            pace = (time.monotonic() - started) / (step - since)
            _log(
                out,
                step=step,
                total=total.item(),
                **{k: v.item() for k, v in losses.items()},
                s_per_step=round(pace, 3),
            )
        if step % config.evaluate_every == 0 or step == config.steps:
            average.eval()
            figures = task.evaluate(average.module)
            _log(out, step=step, **{f"val/{name}": value for name, value in figures.items()})
            if not math.isfinite(figures["score"]):
                raise ValueError(f"the score at step {step} is {figures['score']}: lower the rate, or look at the data.")
            if not best or figures["score"] > best["score"]:
                best = figures | {"step": step}
                task.save(average.module, out / "best.safetensors")
            _plot(out)
        if step % config.save_every == 0 or step == config.steps:
            _save(out, step, best, core, average, optimiser, schedule)
            task.save(average.module, out / "last.safetensors")
    accelerator.end_training()
    return best


def _groups(model: nn.Module, config: LoopConfig) -> list[dict[str, Any]]:
    """Weight decay for matrices only."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]


def _rate(step: int, config: LoopConfig) -> float:
    warm = min(1.0, (step + 1) / max(config.warmup, 1))
    phase = min(1.0, step / config.steps)
    cosine = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * phase)).item())
    return warm * (config.final_lr + (1 - config.final_lr) * cosine)


def _resume(out: Path, core, average, optimiser, schedule, device) -> tuple[int, dict[str, float]]:
    path = out / "state.pt"
    if not path.is_file():
        return 0, {}
    state = torch.load(path, map_location=device, weights_only=True)
    core.load_state_dict(state["model"])
    average.load_state_dict(state["average"])
    optimiser.load_state_dict(state["optimiser"])
    schedule.load_state_dict(state["schedule"])
    return state["step"], state["best"]


def _save(out: Path, step: int, best: dict[str, float], core, average, optimiser, schedule) -> None:
    state = {
        "step": step,
        "best": best,
        "model": core.state_dict(),
        "average": average.state_dict(),
        "optimiser": optimiser.state_dict(),
        "schedule": schedule.state_dict(),
    }
    torch.save(state, out / "state.part")
    (out / "state.part").replace(out / "state.pt")


def _log(out: Path, **row: float) -> None:
    with (out / "log.jsonl").open("a") as file:
        file.write(json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()}) + "\n")
    print("  ".join(f"{k} {v:.4g}" for k, v in row.items()), flush=True)


def _plot(out: Path) -> None:
    """Losses and validation figures over steps, as loss.png beside the log."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    names = sorted({name for row in rows for name in row} - {"step", "s_per_step"})
    figure, axes = plt.subplots(1, 2, figsize=(11, 4))
    for name in names:
        points = [(row["step"], row[name]) for row in rows if name in row]
        axes[int(name.startswith("val/"))].plot(*zip(*points, strict=True), label=name.removeprefix("val/"))
    for axis, title in zip(axes, ("losses", "validation"), strict=True):
        axis.set(title=title, xlabel="step")
        axis.legend(fontsize=7)
    figure.savefig(out / "loss.png", dpi=90, bbox_inches="tight")
    plt.close(figure)
