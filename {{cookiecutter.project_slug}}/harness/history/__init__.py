"""The runs so far: what their directories hold, tables, selection, comparison, curves. Needs no torch."""
