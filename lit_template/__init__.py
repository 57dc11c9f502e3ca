"""The code of the template itself: what becomes of answers. Nothing of it is in a project."""
