"""The article's title at work: a differential equation as one layer of a network.

    Linear → ODELayer → Linear

Eight subjects eliminate a substance at a rate that depends on a covariate, rate = 0.3 + 0.5·covariate. Neither the
rates nor the unit of the measured signal is known. The first linear layer computes a rate from the covariate, the ODE
layer solves amount' = -rate·amount for all eight subjects at once, and the last layer converts amounts to signals.
torch.optim trains all of them together, through the solver.

    python -m examples.covariate_network
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from odelib.engines.layer import ODELayer

SUBJECTS, NOISE = 8, 0.01
TRUE_INTERCEPT, TRUE_SLOPE = 0.3, 0.5
TRUE_GAIN, TRUE_OFFSET = 2.0, 0.1
ELIMINATION = {"states": ["amount"], "parameters": ["rate"], "equations": {"amount": "-rate*amount"}}


class CovariateNetwork(nn.Module):
    """From covariates (B, 1) and times (T,) to signals (B, T)."""

    def __init__(self, engine: str = "auto") -> None:
        super().__init__()
        self.rate = nn.Linear(1, 1, dtype=torch.float64)
        self.solution = ODELayer(ELIMINATION, engine=engine, rtol=1e-6, atol=1e-8)
        self.signal = nn.Linear(1, 1, dtype=torch.float64)

    def forward(self, covariates: Tensor, times: Tensor) -> Tensor:
        """Return the signals of all subjects, who start with an amount of 1."""
        amounts = self.solution(times, torch.ones(1, dtype=torch.float64), self.rate(covariates))
        signals: Tensor = self.signal(amounts).squeeze(-1)
        return signals


@dataclass(frozen=True)
class Recovered:
    """The rate that the network learned, rate = intercept + slope·covariate, and the mean squared error."""

    intercept: float
    slope: float
    loss: float


def simulated_subjects(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return covariates (8, 1), times (21,) and noisy signals (8, 21), from the closed-form solution."""
    generator = torch.Generator().manual_seed(seed)
    covariates = torch.linspace(0.0, 1.5, SUBJECTS, dtype=torch.float64).unsqueeze(-1)
    times = torch.linspace(0.0, 6.0, 21, dtype=torch.float64)
    amounts = torch.exp(-(TRUE_INTERCEPT + TRUE_SLOPE * covariates) * times)
    noise = torch.randn(amounts.shape, generator=generator, dtype=torch.float64)
    return covariates, times, TRUE_GAIN * amounts + TRUE_OFFSET + NOISE * noise


def train(steps: int = 150, seed: int = 0, engine: str = "auto") -> Recovered:
    """Train the network on the simulated subjects, starting from rates that ignore the covariate."""
    covariates, times, signals = simulated_subjects(seed)
    torch.manual_seed(seed)
    network = CovariateNetwork(engine)
    with torch.no_grad():
        network.rate.weight.zero_()
        network.rate.bias.fill_(0.5)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.05)
    loss = torch.zeros(())
    for _ in range(steps):
        optimiser.zero_grad()
        loss = (network(covariates, times) - signals).square().mean()
        loss.backward()
        optimiser.step()
    return Recovered(network.rate.bias.item(), network.rate.weight.item(), loss.item())


if __name__ == "__main__":
    recovered = train()
    print(f"true rate       {TRUE_INTERCEPT:.3f} + {TRUE_SLOPE:.3f} * covariate")
    print(f"recovered rate  {recovered.intercept:.3f} + {recovered.slope:.3f} * covariate")
    print(f"mean squared error {recovered.loss:.2e}; that of the noise is {NOISE**2:.2e}")
