"""One run, from the flags to the metrics. Yours: change it where your training differs."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from harness.found import DATA, MODELS
from harness.lightning_2_6 import resume_exactly
from harness.runs.checkpoint_files import CheckpointFiles
from harness.runs.run import Run, open_run
from harness.trainer_args import Trainer
from harness.training.callbacks import build_callbacks
from harness.training.checks import check_run
from harness.training.compiling import compile_layers
from harness.training.explain import explained
from harness.training.export import export_model
from harness.training.loggers import build_loggers
from harness.training.predictions import write_predictions
from harness.training.profilers import build_profiler
from harness.training.progress import set_up_process
from harness.training.steps import can


def build(args: Namespace, run: Run, callbacks: Sequence[Any] = (), **kw: Any) -> tuple[Any, Any, Any]:
    """Return the model, its data module (None if the model has its own loaders) and Lightning's Trainer."""
    set_up_process(args)
    pl.seed_everything(args.seed, workers=True, verbose=False)

    model = MODELS.build(args.model_name, args)
    data = None if MODELS[args.model_name].brings_data else DATA.build(args.data_name, args)
    if args.compile:
        compile_layers(model)
    check_run(args, run, model, data)

    # Arguments here win over the flags: add your own callbacks, loggers, strategy or plugins.
    trainer = Trainer.from_argparse_args(
        args,
        default_root_dir=run.dir,
        profiler=kw.pop("profiler", None) or build_profiler(args, run),
        logger=kw.pop("logger", None) or build_loggers(args, run, model) or False,
        callbacks=[*build_callbacks(args, run, model, data), *callbacks],
        plugins=[CheckpointFiles(run.flags), *kw.pop("plugins", [])],  # written and loaded safely, with flags
        enable_checkpointing=args.command == "fit" and args.enable_checkpointing,
        enable_model_summary=False,  # printed by a callback
        num_sanity_val_steps=0 if run.ckpt_path else args.num_sanity_val_steps,
        **kw,
    )
    resume_exactly(trainer, args, run)
    return model, data, trainer


def train(args: Namespace, run: Run | Path | None = None, callbacks: Sequence[Any] = (), **kw: Any) -> dict[str, float]:
    """Fit, then validate and test the best weights; return the last value of each metric.

    Args:
        args: all flags, from ``main.parse_args``.
        run: the run, or its directory; by default a new one.
        callbacks: more callbacks for the Trainer.
        **kw: other arguments of it, such as a logger, a strategy or plugins.
    """
    with open_run(args, run) as run, explained(args, run):
        model, data, trainer = build(args, run, callbacks, **kw)
        if args.auto_lr_find or args.auto_scale_batch_size:
            trainer.tune(model, datamodule=data)
        trainer.fit(model, datamodule=data, ckpt_path=run.ckpt_path)
        metrics = dict(trainer.callback_metrics)

        weights = trainer.strategy.broadcast(run.best_checkpoint())  # None without a monitored metric: the last weights
        for command in ("validate", "test") if args.test_after_fit else ("validate",):
            if can(command, args, model, data):
                getattr(trainer, command)(model, datamodule=data, ckpt_path=weights, verbose=False)
                metrics |= trainer.callback_metrics
                weights = None  # the model has them now
        return run.finish(metrics)


def evaluate(args: Namespace, run: Run | Path | None = None) -> dict[str, Any]:
    """Validate, test, predict or export with the weights of ``--ckpt_path``; return the metrics, or the file."""
    with open_run(args, run) as run, explained(args, run):
        model, data, trainer = build(args, run)
        if args.command == "export":
            return export_model(args, run, model, data, trainer)
        if args.command == "predict":
            outputs = trainer.predict(model, datamodule=data, ckpt_path=run.ckpt_path)
            return {"predictions": write_predictions(outputs, args.predictions or run.dir / "predictions.csv")}
        getattr(trainer, args.command)(model, datamodule=data, ckpt_path=run.ckpt_path, verbose=False)
        return run.finish(trainer.callback_metrics)
