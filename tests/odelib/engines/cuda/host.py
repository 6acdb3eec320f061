"""The kernels' text compiled for the CPU by the host's compiler: everything but the launch, without a GPU."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch

from odelib.engines.cuda.kernels import CudaKernels, Program
from odelib.problem.system import System

COMPILER = shutil.which("g++")
_OPTIONS = ("-O1", "-std=c++17", "-shared", "-fPIC", "-ffp-contract=fast", "-w", "-x", "c++")


@cache
def host_program(text: str, threads: int) -> Program:
    """A program that solves one trajectory after the other."""
    assert COMPILER
    folder = Path(tempfile.mkdtemp(prefix="odefit-host-"))
    library = folder / "solve.so"
    subprocess.run([COMPILER, *_OPTIONS, "-o", str(library), "-"], input=text, text=True, check=True)
    solve = ctypes.CDLL(str(library)).solve
    shutil.rmtree(folder)

    def run(arguments: tuple[int | float, ...], count: int) -> None:
        solve(*(ctypes.c_double(a) if isinstance(a, float) else ctypes.c_longlong(a) for a in arguments))

    return run


def host_kernels(system: System) -> CudaKernels:
    """The kernels of a system, compiled for the CPU."""
    return CudaKernels(system, torch.device("cpu"), host_program)
