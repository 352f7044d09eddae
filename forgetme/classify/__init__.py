"""Unlearning in image classification: Retrain, RL, SalUn and LoReUn on a ResNet-18."""

from forgetme.classify.bench import METHODS, BenchSettings, Row, run

__all__ = ["METHODS", "BenchSettings", "Row", "run"]
