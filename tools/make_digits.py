"""Write data/digits.npz of the template: 1,797 real handwritten digits, 8x8 pixels, grey levels 0 to 16.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
Repository, 1998, https://doi.org/10.24432/C50P49, licensed CC BY 4.0. These are the images of its test set,
as scikit-learn carries them, in the same order and with the same values.

    pip install scikit-learn && python tools/make_digits.py
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

TEMPLATE = Path(__file__).parents[1] / "{{cookiecutter.project_slug}}"

if __name__ == "__main__":
    digits = load_digits()
    images = digits.images.astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    np.savez_compressed(TEMPLATE / "data" / "digits.npz", images=images, labels=labels)
