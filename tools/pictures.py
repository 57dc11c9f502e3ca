"""Make the pictures of docs/pictures/ from a project that is baked, trained and searched for them; ``make pictures``.

Text in a terminal becomes SVG, as a terminal emulator draws it. Pages become PNG, as Chromium draws them.
"""

import fcntl
import os
import pty
import shlex
import shutil
import struct
import subprocess
import sys
import termios
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import pyte
from cookiecutter.main import cookiecutter
from PIL import Image
from rich.console import Console
from rich.style import Style
from rich.text import Text

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
NAMES = {"default": None, "brown": "yellow"}  # colours of pyte that have another name in rich
LINES = 300  # of the emulated terminal; empty ones at the end are left out
SVG = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: "Fira Code", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>
{lines}
</defs>
<rect width="{width}" height="{height}" rx="8" fill="#292929" />
<g transform="translate({terminal_x}, 12)" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""


def in_terminal(command: str, project: Path, columns: int) -> list[Text]:
    """Run a command of the project in a terminal; return the lines that it leaves there, after the command itself.

    Raises:
        SystemExit: If the command fails.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
    words = [sys.executable, *shlex.split(command)[1:]]
    process = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, cwd=project)
    os.close(slave)
    screen = pyte.Screen(columns, LINES)
    stream = pyte.ByteStream(screen)
    try:
        while part := os.read(master, 1 << 16):
            stream.feed(part)
    except OSError:  # the process closed its end
        pass
    os.close(master)
    if process.wait():
        sys.exit("\n".join(line.rstrip() for line in screen.display).rstrip())
    lines = [styled(screen.buffer[number], columns) for number in range(LINES)]
    while lines and not lines[-1].plain:
        lines.pop()
    return [Text.assemble(("$ ", "green"), (command, "bold")), *lines]


def styled(row: dict[int, pyte.screens.Char], columns: int) -> Text:
    """Return a row of a screen with its colours."""
    text = Text()
    for (colour, bold), chars in groupby((row[column] for column in range(columns)), lambda char: (char.fg, char.bold)):
        style = Style(color=NAMES.get(colour, colour), bold=bold)
        text.append("".join(char.data for char in chars), style)
    text.rstrip()
    return text


def draw_terminal(name: str, lines: list[Text], columns: int) -> None:
    """Write lines as the SVG file of a terminal."""
    console = Console(record=True, width=columns, file=open(os.devnull, "w"))  # noqa: SIM115
    for line in lines:
        console.print(line, soft_wrap=True)
    svg = console.export_svg(code_format=SVG, unique_id=name)
    (PICTURES / f"{name}.svg").write_text(svg, "utf-8")


def draw_page(name: str, page: Path, width: int, rows: range) -> None:
    """Write the PNG file of some rows of pixels of a page, with as few colours as show no difference."""
    file = PICTURES / f"{name}.png"
    window = [f"--window-size={width},{rows.stop}", "--hide-scrollbars", "--virtual-time-budget=8000"]
    chromium = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", *window, f"--screenshot={file}"]
    subprocess.run([*chromium, page.resolve().as_uri()], check=True, capture_output=True)
    image = Image.open(file).convert("RGB").crop((0, rows.start, width, rows.stop))
    image.quantize(64, dither=Image.Dither.NONE).save(file, optimize=True)


def draw_digits(project: Path) -> None:
    """Write the images that the example GAN makes of the same noise in its first and its last epoch."""
    python(project, "main.py --model_name gan --run_name gan")
    samples = sorted((project / "runs" / "gan" / "samples").glob("*.png"))
    first, last = Image.open(samples[0]), Image.open(samples[-1])
    scale = 320 // first.width
    size, gap = (first.width * scale, first.height * scale), 16
    both = Image.new("L", (2 * size[0] + gap, size[1]), 255)
    for number, image in enumerate((first, last)):
        both.paste(image.convert("L").resize(size, Image.Resampling.NEAREST), (number * (size[0] + gap), 0))
    both.quantize(16).save(PICTURES / "gan.png", optimize=True)


def python(project: Path, command: str) -> None:
    """Run a command of the project, without its output."""
    subprocess.run([sys.executable, *shlex.split(command)], cwd=project, check=True, capture_output=True)


def draw_all(project: Path) -> None:
    """Make every picture."""
    draw_terminal("first-run", in_terminal("python main.py", project, 96), 96)
    shutil.rmtree(project / "runs")
    help_lines = in_terminal("python main.py --help", project, 80)
    draw_terminal("help", [*help_lines[:46], Text("...")], 80)
    for flags in ("base", "wide --layer_1_dim 512", "slow --learning_rate 3e-4", "large_batches --batch_size 256"):
        python(project, f"main.py --run_name {flags}")
    draw_terminal("runs", in_terminal("python main.py runs --sort val_loss", project, 76), 76)
    python(project, "main.py runs plot base wide slow large_batches --metrics val_loss,val_accuracy")
    draw_page("curves", project / "runs" / "curves.html", 1000, range(780))
    python(project, "sweep_optuna.py --n_trials 30 --max_epochs 3 --study_name digits")
    draw_page("sweep", project / "runs" / "sweeps" / "digits" / "report.html", 1300, range(1640, 2720))  # figures
    draw_digits(project)


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "TERM": "xterm-256color"}
    with TemporaryDirectory() as temporary:
        draw_all(Path(cookiecutter(str(ROOT), no_input=True, extra_context={"sweeps": "both"}, output_dir=temporary)))
