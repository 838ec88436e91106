"""Sweeps: a notebook run once for each combination of parameters, on this machine's cores or on a cluster."""
