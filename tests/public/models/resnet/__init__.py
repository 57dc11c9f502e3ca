"""A residual network for small colour images."""

from .net import ResNet

__all__ = ["ResNet"]
