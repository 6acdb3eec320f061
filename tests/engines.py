"""The engines that general tests run over."""

ENGINES = ["compiled", "torchdiffeq"]
