"""Trains and measures the bundled models: small checkpoints of the real classes."""
