"""Trackers of --logger, a file each: they show the name, project, tags and notes of a run, and continue with it."""
