"""Flags and commands of other programs, and their equivalents here."""

from collections.abc import Collection, Sequence
from difflib import get_close_matches

from harness.errors import UsageError

# Synonyms in the examples of PyTorch, Hugging Face, timm and LightningCLI, and here. A model may declare any of them; a
# suggestion names those that exist.
SAME = (
    ("learning_rate", "lr", "base_lr"),
    ("batch_size", "bs", "b", "batch", "train_batch_size", "per_device_train_batch_size"),
    ("max_epochs", "epochs", "epoch", "num_epochs", "n_epochs", "num_train_epochs"),
    ("max_steps", "steps", "num_steps", "max_iters"),
    ("num_workers", "workers", "j", "jobs", "n_jobs"),
    ("weight_decay", "wd"),
    ("seed", "random_seed", "manual_seed", "seed_everything"),
    ("run_name", "name", "exp_name", "experiment_name"),
    ("gradient_clip_val", "clip", "grad_clip", "clip_grad", "max_grad_norm"),
    ("accumulate_grad_batches", "grad_accum", "accumulation_steps", "gradient_accumulation_steps"),
    ("early_stopping_patience", "patience"),
    ("model_name", "model", "arch", "net"),
    ("data_name", "data", "dataset"),
    ("default_root_dir", "out_dir", "output_dir", "save_dir", "log_dir", "logdir", "logging_dir"),
    ("fast_dev_run", "dry_run"),
    ("n_trials", "trials", "num_trials"),
)
# Flags whose equivalent is another flag with a value, or a command.
INSTEAD = {
    "--ckpt_path last": ("resume", "auto_resume"),
    "--ckpt_path FILE": ("checkpoint", "ckpt", "resume_from", "load", "weights", "pretrained"),
    "--init_from FILE": ("weights", "pretrained", "finetune", "init", "initial_checkpoint", "warm_start"),
    "main.py test --ckpt_path FILE": ("test", "eval", "evaluate"),
    "main.py validate --ckpt_path FILE": ("validate", "val"),
    "main.py predict --ckpt_path FILE": ("predict", "infer"),
    "main.py export --ckpt_path FILE --to onnx": ("export", "onnx", "to_onnx", "torchscript"),
    "--accelerator gpu": ("gpu", "cuda"),
    "--accelerator cpu": ("cpu", "no_cuda"),
    "--accelerator cpu|gpu": ("device",),
    "--strategy ddp": ("ddp", "distributed"),
    "--precision 16-mixed": ("fp16", "amp"),
    "--precision bf16-mixed": ("bf16",),
    "--logger wandb": ("wandb",),
    "--logger tensorboard": ("tensorboard",),
    "--enable_progress_bar no": ("quiet", "silent", "no_progress_bar", "disable_tqdm"),
}
COMMANDS = {"train": "fit", "val": "validate", "eval": "test", "evaluate": "test", "infer": "predict"}


def meant_by(flag: str, flags: Collection[str]) -> list[str]:
    """Return the equivalents of a flag of another program that exist here.

    Args:
        flag: the flag as typed; of a name with dots, such as --trainer.max_epochs, the last part counts.
        flags: the flags of this command line.
    """
    name = flag.lstrip("-").replace("-", "_").rpartition(".")[2].lower()
    same = [f"--{each}" for names in SAME if name in names for each in names]
    instead = [text for text, names in INSTEAD.items() if name in names]
    candidates = dict.fromkeys([f"--{name}", *same, *instead])
    return [text for text in candidates if all(word in flags for word in text.split() if word.startswith("--"))]


def require_command(word: str, commands: Sequence[str]) -> None:
    """Raise UsageError, with the nearest command, if the first word of a command line is not a command."""
    if word in commands:
        return
    meant = {command: command for command in commands} | COMMANDS
    near = get_close_matches(word, meant, n=1)
    hint = f"; did you mean {meant[near[0]]}?" if near else ""
    raise UsageError(
        f"{word!r} is no command: the first word may be {', '.join(commands[:-1])} or {commands[-1]}{hint}"
    )
