"""What is not used is not loaded, and is there for those who use it."""

import subprocess
import sys
from pathlib import Path

import modules


def python(code):
    """Return what code prints in a process of its own, which finds packages made up here."""
    path = [str(modules.ROOT), "."]
    code = f"import sys; sys.path = {path} + sys.path\n{code}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def install(package, **files):
    """Make a package up; as it is loaded it says so."""
    Path(package).mkdir()
    Path(package, "__init__.py").write_text(f"print('{package}')\n")
    for name, text in files.items():
        Path(package, f"{name}.py").write_text(text)
    metadata = Path(f"{package}-1000.0.dist-info", "METADATA")
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1000.0\n")


def test_lightning_loads_no_package_that_is_not_used():
    install("scipy", signal="windows = None\n")
    install("torchvision", models="", ops="", transforms="")
    install("rich")
    install("sklearn")
    loaded = "print(*{'scipy', 'torchvision', 'rich', 'sklearn', 'pytorch_lightning'} & set(sys.modules))"
    assert python(f"import lean_imports; lean_imports.import_lightning(); {loaded}") == ["pytorch_lightning"]


def test_they_are_there_when_they_are_used():
    install("scipy", signal="found = 'signal'\n")
    install("torchvision", models="def resnet50(): return 'net'\n", ops="", transforms="class Resize: size = 3\n")
    use = """
import lean_imports
lean_imports.import_lightning()
import torchmetrics.functional.image.arniqa
module = sys.modules["torchmetrics.functional.image.arniqa"]
print(module.resnet50(), module.transforms.Resize.size)
import scipy.signal
print(scipy.signal.found)
"""
    assert python(use) == ["torchvision", "net", "3", "scipy", "signal"]


def test_another_part_that_is_wanted_is_loaded():
    install("scipy", signal="from scipy import hamming\n")
    Path("scipy/__init__.py").write_text("hamming = 1\nprint('scipy')\n")
    less = "import lean_imports; lean_imports.SCIPY = ('scipy',); lean_imports.import_lightning()"
    assert python(f"{less}; print('pytorch_lightning' in sys.modules)") == ["scipy", "True"]
