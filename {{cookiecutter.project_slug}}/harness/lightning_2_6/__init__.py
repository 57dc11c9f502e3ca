"""Every private name of Lightning, as of 2.6."""
