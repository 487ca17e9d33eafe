"""STvM: self-training via metric learning for source-free domain adaptation."""

__version__ = "0.1.0"
