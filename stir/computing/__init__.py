"""Devices, precision, and networks computed in parallel."""
