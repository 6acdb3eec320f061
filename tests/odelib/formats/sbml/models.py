"""Small SBML models as text."""

from __future__ import annotations

from pathlib import Path

_MATH = '<math xmlns="http://www.w3.org/1998/Math/MathML">{}</math>'


def ci(name: str) -> str:
    return f"<ci> {name} </ci>"


def cn(value: float) -> str:
    return f"<cn> {value} </cn>"


def apply(function: str, *operands: str) -> str:
    return f"<apply><{function}/>{''.join(operands)}</apply>"


def math(content: str) -> str:
    return _MATH.format(content)


def model(content: str, level: int = 3, version: int = 1) -> str:
    space = f"http://www.sbml.org/sbml/level{level}/version{version}" + ("/core" if level == 3 else "")
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><sbml xmlns="{space}" level="{level}" version="{version}">'
        f'<model id="m">{content}</model></sbml>'
    )


def write(folder: Path, content: str) -> Path:
    path = folder / "model.xml"
    path.write_text(model(content), encoding="utf-8")
    return path


def species(name: str, amount: float | None = None, concentration: float | None = None, *, only_amounts: bool = False,
            boundary: bool = False, compartment: str = "cell") -> str:  # fmt: skip
    start = f'initialAmount="{amount}"' if amount is not None else f'initialConcentration="{concentration}"'
    return (
        f'<species id="{name}" compartment="{compartment}" {start} hasOnlySubstanceUnits="{str(only_amounts).lower()}" '
        f'boundaryCondition="{str(boundary).lower()}" constant="false"/>'
    )


def compartment(size: float, *, constant: bool = True) -> str:
    return (
        f'<listOfCompartments><compartment id="cell" size="{size}" spatialDimensions="3" '
        f'constant="{str(constant).lower()}"/></listOfCompartments>'
    )


def parameters(**values: float) -> str:
    rows = "".join(f'<parameter id="{name}" value="{value}" constant="true"/>' for name, value in values.items())
    return f"<listOfParameters>{rows}</listOfParameters>"


def reference(name: str, stoichiometry: float = 1.0) -> str:
    return f'<speciesReference species="{name}" stoichiometry="{stoichiometry}" constant="true"/>'


def reaction(name: str, reactants: str, products: str, rate: str, local: str = "") -> str:
    parts = [
        f"<listOfReactants>{reactants}</listOfReactants>" if reactants else "",
        f"<listOfProducts>{products}</listOfProducts>" if products else "",
        f"<kineticLaw>{math(rate)}{local}</kineticLaw>",
    ]
    return f'<reaction id="{name}" reversible="false" fast="false">{"".join(parts)}</reaction>'
