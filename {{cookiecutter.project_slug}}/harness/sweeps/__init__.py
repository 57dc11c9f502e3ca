"""What both kinds of sweeps share."""
