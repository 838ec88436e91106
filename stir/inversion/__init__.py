"""Inversion of representations: images that a network represents at a layer as it represents others."""
