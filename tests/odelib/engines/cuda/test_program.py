"""NVRTC compiles the kernels for the architectures of today's GPUs, and what it has compiled is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from odelib.engines.base import DifferentiateBy
from odelib.engines.cuda import program
from odelib.engines.cuda.source import CudaSource, Variant
from odelib.problem.catalogue import CATALOGUE

pytest.importorskip("cuda.core", reason="cuda-core is not installed (the extra `gpu`)")
SOURCE = CudaSource(CATALOGUE["lotka-volterra"])
ALL = DifferentiateBy((0, 1), (0, 1, 2, 3))


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("with_implicit", [False, True])
def test_nvrtc_compiles_the_kernels(architecture: str, with_implicit: bool, tmp_path: Path) -> None:
    text = SOURCE.text(Variant(ALL, "dopri5", with_implicit, with_zeros=with_implicit))
    assert program.cubin(text, architecture, tmp_path / "kernels")[:4] == b"\x7fELF"


def test_compiled_kernels_are_kept_and_a_damaged_file_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, folder = SOURCE.text(Variant(DifferentiateBy(), "dopri5", False, False)), tmp_path / "kernels"
    code = program.cubin(text, "sm_80", folder)
    [file] = folder.iterdir()
    file.write_bytes(file.read_bytes()[:1000])

    assert program.cubin(text, "sm_80", folder) == code
    monkeypatch.setattr(program, "_compiled", lambda *arguments: pytest.fail("compiled again"))
    assert program.cubin(text, "sm_80", folder) == code
