"""Evaluate: what a model forgot, what it kept, and how hard it is to bring back."""
