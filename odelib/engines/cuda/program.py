"""Programs on a GPU: compiled by NVRTC, kept on disk, and launched by cuda-core on torch's current stream."""

from __future__ import annotations

import hashlib
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from odelib.engines.compiled import cache
from odelib.engines.compiled.kernels import EquationsKey
from odelib.engines.cuda.kernels import CudaKernels, Program
from odelib.errors import FitError
from odelib.problem.system import System

MAX_FILES = 500  # beyond this the least recently used are removed
_PREFIX, _SUFFIX = "odelib_cuda_", ".cubin"
_DIGEST = 32  # bytes of the hash that a file begins with: one that a crash or a full disk has truncated is made again


def gpu_kernels_of(system: System) -> CudaKernels:
    """The system's kernels for torch's current GPU, kept. Raises `FitError` for a system that they cannot solve."""
    return _kernels_of(EquationsKey(system, ()), torch.cuda.current_device())


@lru_cache(maxsize=64)
def _kernels_of(equations: EquationsKey, device: int) -> CudaKernels:
    return CudaKernels(equations.system, torch.device("cuda", device), gpu_program)


def gpu_program(text: str, threads: int) -> Program:
    """Make a program for torch's current GPU. Raises `FitError` if that is not possible on this machine."""
    core: Any = _core()
    major, minor = torch.cuda.get_device_capability()
    device = core.Device(torch.cuda.current_device())
    device.set_current()
    kernel = core.ObjectCode.from_cubin(cubin(text, f"sm_{major}{minor}")).get_kernel("solve")

    def launch(arguments: tuple[int | float, ...], count: int) -> None:
        handle = torch.cuda.current_stream().cuda_stream
        stream = core.Stream.from_handle(handle) if handle else core.LEGACY_DEFAULT_STREAM
        config = core.LaunchConfig(grid=-(-count // threads), block=threads)
        try:
            core.launch(stream, config, kernel, *arguments)
            stream.sync()
        except Exception as error:  # cuda-core has a class of exceptions for each library that it calls
            raise FitError("gpu_failed", "The GPU failed", f"the GPU could not run the solver: {error}") from error

    return launch


def cubin(text: str, architecture: str, folder: Path | None = None) -> bytes:
    """The machine code of a source for an architecture such as `sm_90`; from disk if it has been compiled before."""
    core = _core()
    folder = folder or cache.default_folder()
    try:
        cache.prepare(folder)
        stamp = f"{core.__version__} {architecture}\n{text}"
        path = folder / f"{_PREFIX}{hashlib.sha256(stamp.encode()).hexdigest()[:32]}{_SUFFIX}"
        if (found := _stored(path)) is not None:
            return found
        code = _compiled(core, text, architecture)
        _store(path, code)
    except OSError as error:
        raise cache.CacheError(f"compiled kernels cannot be stored in {folder}: {error}") from error
    return code


def _compiled(core: Any, text: str, architecture: str) -> bytes:
    from cuda.pathfinder import DynamicLibNotFoundError  # noqa: PLC0415

    options = core.ProgramOptions(arch=architecture, std="c++17", name="solve")
    try:
        program = core.Program(text, "c++", options)
        try:
            return bytes(program.compile("cubin").code)
        finally:
            program.close()
    except DynamicLibNotFoundError as error:  # NVRTC
        raise _no_packages() from error


def _stored(path: Path) -> bytes | None:
    try:
        whole = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, code = whole[:_DIGEST], whole[_DIGEST:]
    path.touch()
    return code if digest == hashlib.sha256(code).digest() else None


def _store(path: Path, code: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        file.write(hashlib.sha256(code).digest() + code)
    Path(file.name).rename(path)
    used = sorted(path.parent.glob(f"{_PREFIX}*{_SUFFIX}"), key=lambda each: each.stat().st_mtime)
    for old in used[:-MAX_FILES]:
        old.unlink(missing_ok=True)


def _core() -> Any:
    """cuda-core, which a machine without a GPU does not need."""
    try:
        import cuda.core  # noqa: PLC0415
    except ImportError as error:
        raise _no_packages() from error
    return cuda.core


def _no_packages() -> FitError:
    return FitError(
        "no_gpu_packages",
        "The packages for GPUs are missing",
        "solver.device 'cuda' with the compiled engine needs cuda-core and NVRTC: install odefit[gpu], or set "
        "solver.device to 'cpu', or solver.engine to 'torchdiffeq'",
    )
