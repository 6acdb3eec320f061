"""The systems of `bench.reach`, with usual values of their parameters and a time window that shows their dynamics.

Beside the stiff set of `bench.systems`: mechanisms in mol/L and seconds, gene networks, signalling, pharmacokinetics,
epidemics and excitable membranes, as their authors write them or as textbooks do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.systems import Problem, make_problem, stiff


def systems() -> list[Problem]:
    """All of them."""
    groups = (stiff, _mechanisms, _binding, _gene_networks, _clocks, _signalling, _pharmacokinetics, _epidemics, _cells)
    return [problem for group in groups for problem in group()]


def _system(
    name: str, stop: float, start: Sequence[float], parameters: dict[str, float], equations: dict[str, str]
) -> Problem:
    return make_problem(name, equations, start, parameters=parameters, times=np.linspace(0.0, stop, 21), stiff=True)


def _mechanisms() -> list[Problem]:
    """Reactions in mol/L and s, some of whose rates are diffusion-limited."""
    acid = "ka*HA - kb*H*A"
    water = "kw - kr*H*OH"
    start, end = "k1*Br2 - km1*Br**2", "k2*Br*H2 - km2*HBr*H"
    transfer = "k3*H*Br2"
    return [
        _system(
            "Michaelis–Menten", 200.0, [1e-6, 1e-4, 0, 0], {"kf": 1e6, "kr": 10.0, "kcat": 5.0},
            {
                "E": "-kf*E*S + (kr + kcat)*C", "S": "-kf*E*S + kr*C", "C": "kf*E*S - (kr + kcat)*C", "P": "kcat*C",
            },
        ),
        _system(
            "inhibited enzyme", 200.0, [1e-6, 1e-4, 0, 0, 5e-5, 0],
            {"kf": 1e6, "kr": 10.0, "kcat": 5.0, "ki": 1e6, "kmi": 1.0},
            {
                "E": "-kf*E*S + (kr + kcat)*C - ki*E*I + kmi*EI", "S": "-kf*E*S + kr*C",
                "C": "kf*E*S - (kr + kcat)*C", "P": "kcat*C", "I": "-ki*E*I + kmi*EI", "EI": "ki*E*I - kmi*EI",
            },
        ),
        _system(
            "acid and water", 1e-3, [1e-3, 1e-7, 0, 1e-7], {"ka": 1.75e5, "kb": 1e10, "kw": 1.4e-3, "kr": 1.4e11},
            {"HA": f"-({acid})", "H": f"{acid} + {water}", "A": acid, "OH": water},
        ),
        _system(
            "hydrogen bromide", 1e3, [1e-2, 1e-2, 0, 0, 0],
            {"k1": 1e-7, "km1": 1e9, "k2": 10.0, "km2": 1e8, "k3": 1e9},
            {
                "H2": f"-({end})", "Br2": f"-({start}) - {transfer}", "HBr": f"{end} + {transfer}",
                "H": f"{end} - {transfer}", "Br": f"2*({start}) - ({end}) + {transfer}",
            },
        ),
        _system(
            "ozone cycle", 1e4, [1e-8, 1e-10, 0, 0], {"j": 8e-3, "k2": 2e7, "k3": 1e7, "j3": 1e-3},
            {
                "NO2": "-j*NO2 + k3*NO*O3", "O3": "k2*O - k3*NO*O3 - j3*O3", "NO": "j*NO2 - k3*NO*O3",
                "O": "j*NO2 - k2*O + j3*O3",
            },
        ),
        _system(
            "consecutive reactions", 100.0, [1.0, 0, 0, 0], {"k1": 1.0, "k2": 50.0, "k3": 1e3, "k4": 0.1},
            {"A": "-k1*A", "B": "k1*A - k2*B + k4*C", "C": "k2*B - k4*C - k3*C", "D": "k3*C"},
        ),
        _system(
            "polymerisation", 3600.0, [1e-2, 5.0, 0, 0], {"kd": 1e-5, "ki": 1e3, "kp": 300.0, "kt": 5e7},
            {"I": "-kd*I", "M": "-ki*M*R - kp*M*P", "R": "kd*I - ki*M*R", "P": "ki*M*R - kt*P**2"},
        ),
    ]  # fmt: skip


def _binding() -> list[Problem]:
    """Ligands, receptors and buffers, in mol/L and s."""
    exchange, first = "kf*A*B - kr*AB", "k1*S*X - km1*SX"
    calcium = "kon*Ca*B - koff*CaB"
    return [
        _system(
            "dimer", 600.0, [1e-8, 1e-9, 0, 0], {"kf": 1e6, "kr": 1e-3, "kd": 1e7, "kmd": 1e-2},
            {
                "L": "-kf*L*R + kr*C", "R": "-kf*L*R + kr*C", "C": "kf*L*R - kr*C - 2*kd*C**2 + 2*kmd*D",
                "D": "kd*C**2 - kmd*D",
            },
        ),
        _system(
            "receptor trafficking", 3600.0, [1e-9, 1e-9, 0, 0],
            {"kon": 1e6, "koff": 1e-3, "ke": 1e-3, "kdeg": 1e-4, "ks": 1e-13},
            {
                "L": "-kon*L*R + koff*C", "R": "ks - kon*L*R + koff*C - kdeg*R", "C": "kon*L*R - koff*C - ke*C",
                "In": "ke*C - kdeg*In",
            },
        ),
        _system(
            "calcium buffers", 1.0, [1e-6, 1e-4, 0, 1e-4, 0],
            {"kon": 1e8, "koff": 100.0, "km": 1e6, "kmoff": 1.0, "pump": 50.0},
            {
                "Ca": f"-({calcium}) - km*Ca*M + kmoff*CaM - pump*Ca", "B": f"-({calcium})", "CaB": calcium,
                "M": "-km*Ca*M + kmoff*CaM", "CaM": "km*Ca*M - kmoff*CaM",
            },
        ),
        _system(
            "strand displacement", 3600.0, [1e-8, 1e-8, 0, 0, 5e-9], {"kf": 1e6, "kr": 1e-2, "k1": 3e5, "km1": 1e-3},
            {
                "A": f"-({exchange})", "B": f"-({exchange})", "AB": f"{exchange} - k1*AB*X + km1*SX",
                "SX": "k1*AB*X - km1*SX", "X": "-k1*AB*X + km1*SX",
            },
        ),
        _system(
            "ping-pong enzyme", 100.0, [1e-7, 0, 0, 1e-4, 1e-4, 0],
            {"k1": 1e7, "km1": 100.0, "k2": 50.0, "k3": 1e7, "k4": 80.0},
            {
                "X": f"-({first}) + k4*Y2", "SX": f"{first} - k2*SX", "Y2": "k3*(1e-7 - X - SX - Y2)*T - k4*Y2",
                "S": f"-({first})", "T": "-k3*(1e-7 - X - SX - Y2)*T", "P": "k2*SX",
            },
        ),
    ]  # fmt: skip


def _gene_networks() -> list[Problem]:
    """Transcription and translation, in molecules and minutes or without units."""
    vilar = "gA*Da*A - tA*Dap", "gR*Dr*A - tR*Drp"
    return [
        _system(
            "repressilator", 200.0, [0, 0, 0, 5, 0, 15], {"a": 216.0, "a0": 0.2, "b": 5.0},
            {
                "m1": "-m1 + a/(1 + p3**2) + a0", "m2": "-m2 + a/(1 + p1**2) + a0", "m3": "-m3 + a/(1 + p2**2) + a0",
                "p1": "b*(m1 - p1)", "p2": "b*(m2 - p2)", "p3": "b*(m3 - p3)",
            },
        ),
        _system(
            "toggle switch", 50.0, [1.0, 2.0], {"a1": 156.25, "a2": 15.6, "d1": 1.0, "d2": 1.0},
            {"u": "a1/(1 + v**2.5) - d1*u", "v": "a2/(1 + u) - d2*v"},
        ),
        _system(
            "self-activation", 500.0, [0.0, 0.1], {"k0": 0.05, "k1": 1.0, "K": 20.0, "d": 0.1, "s": 2.0},
            {"m": "k0 + k1*p**2/(K**2 + p**2) - d*m", "p": "s*m - d*p"},
        ),
        _system(
            "Goodwin", 100.0, [0.3, 0.9, 1.3], {"a": 1.0, "k1": 0.1, "b": 1.0, "k2": 0.1, "c": 1.0, "k3": 0.1},
            {"x": "a/(1 + z**10) - k1*x", "y": "b*x - k2*y", "z": "c*y - k3*z"},
        ),
        _system(
            "activator and repressor", 200.0, [1, 0, 1, 0, 0, 0, 0, 0, 0],
            {
                "gA": 1.0, "gR": 1.0, "tA": 50.0, "tR": 100.0, "aA": 50.0, "aAp": 500.0, "aR": 0.01, "aRp": 50.0,
                "bA": 50.0, "bR": 5.0, "dMA": 10.0, "dMR": 0.5, "dA": 1.0, "dR": 0.2, "gC": 2.0,
            },
            {
                "Da": f"-({vilar[0]})", "Dap": vilar[0], "Dr": f"-({vilar[1]})", "Drp": vilar[1],
                "Ma": "aAp*Dap + aA*Da - dMA*Ma", "A": f"bA*Ma - ({vilar[0]}) - ({vilar[1]}) - A*(gC*R + dA)",
                "Mr": "aRp*Drp + aR*Dr - dMR*Mr", "R": "bR*Mr - gC*A*R + dA*C - dR*R", "C": "gC*A*R - dA*C",
            },
        ),
        _system(
            "transcription in cells", 600.0, [1, 0, 0, 0],
            {"kon": 0.02, "koff": 0.1, "km": 5.0, "dm": 0.05, "kp": 2.0, "dp": 0.005},
            {
                "off": "-kon*off + koff*on", "on": "kon*off - koff*on", "m": "km*on - dm*m", "p": "kp*m - dp*p",
            },
        ),
    ]  # fmt: skip


def _clocks() -> list[Problem]:
    """Oscillators of cells: cycles, circadian clocks, glycolysis, calcium."""
    return [
        _system(
            "cell cycle", 100.0, [0.75, 0.25, 0, 0, 0, 0],
            {"k1": 0.015, "k3": 200.0, "k4": 180.0, "k4p": 0.018, "k6": 1.0, "k7": 0.6, "k8": 1e3, "k9": 100.0},
            {  # Tyson, PNAS 88 (1991)
                "C2": "k6*M - k8*C2 + k9*CP", "CP": "-k3*CP*Y + k8*C2 - k9*CP",
                "pM": "k3*CP*Y - pM*(k4p + k4*M**2)", "M": "pM*(k4p + k4*M**2) - k6*M",
                "Y": "k1 - k3*CP*Y", "YP": "k6*M - k7*YP",
            },
        ),
        _system(
            "circadian PER", 72.0, [0.1, 0.25, 0.25, 0.25, 0.25],
            {
                "vs": 0.76, "vm": 0.65, "Km": 0.5, "ks": 0.38, "vd": 0.95, "k1": 1.9, "k2": 1.3, "KI": 1.0, "Kd": 0.2,
                "V1": 3.2, "V2": 1.58,
            },
            {  # Goldbeter, Proc. R. Soc. B 261 (1995), K1 to K4 = 2
                "M": "vs*KI**4/(KI**4 + N**4) - vm*M/(Km + M)", "P0": "ks*M - V1*P0/(2 + P0) + V2*P1/(2 + P1)",
                "P1": "V1*P0/(2 + P0) - V2*P1/(2 + P1) - 5*P1/(2 + P1) + 2.5*P2/(2 + P2)",
                "P2": "5*P1/(2 + P1) - 2.5*P2/(2 + P2) - k1*P2 + k2*N - vd*P2/(Kd + P2)", "N": "k1*P2 - k2*N",
            },
        ),
        _system(
            "glycolysis", 100.0, [1.0, 0.1], {"v": 0.6, "a": 0.06, "k": 1.0},
            {"F": "v - a*F - k*F*D**2", "D": "a*F + k*F*D**2 - D"},  # Selkov, Eur. J. Biochem. 4 (1968)
        ),
        _system(
            "calcium oscillations", 10.0, [0.1, 1.0],
            {"v0": 1.0, "v1": 7.3, "b": 0.4, "VM2": 65.0, "VM3": 500.0, "K2": 1.0, "KR": 2.0, "KA": 0.9, "kf": 1.0,
             "k": 10.0},
            {  # Goldbeter, Dupont and Berridge, PNAS 87 (1990)
                "Z": "v0 + v1*b - VM2*Z**2/(K2**2 + Z**2) + VM3*Y**2/(KR**2 + Y**2)*Z**4/(KA**4 + Z**4) + kf*Y - k*Z",
                "Y": "VM2*Z**2/(K2**2 + Z**2) - VM3*Y**2/(KR**2 + Y**2)*Z**4/(KA**4 + Z**4) - kf*Y",
            },
        ),
    ]  # fmt: skip


def _signalling() -> list[Problem]:
    """Receptors, kinases and transcription factors."""
    a, ab, b = (f"1.25e-7*exp(-deg*t)*kph*{pair}" for pair in ("A**2", "A*B", "B**2"))
    back, into = 0.45 / 1.4, 1.4 / 0.45  # volumes of cytoplasm and nucleus
    up = "V1*K3/((1 + M2/Ki)*(K + K3))", "V2*K3p/(K + K3p)"
    middle = "k3*K3p*M/(K + M)", "k4*K3p*M1/(K + M1)", "V5*M2/(K + M2)", "V6*M1/(K + M1)"
    return [
        _system(
            "STAT5", 240.0, [207.6 * 0.693, 207.6 * 0.307, 0, 0, 0, 0, 0, 0],
            {"deg": 0.027, "khe": 1e-5, "kho": 0.0062, "khi": 0.0164, "kmi": 97749.0, "kph": 15766.0},
            {  # Boehm et al., J. Proteome Res. 13 (2014)
                "A": f"-2*{a} - {ab} + {back}*(2*kho*nAA + khe*nAB)",
                "B": f"-{ab} - 2*{b} + {back}*(khe*nAB + 2*kho*nBB)",
                "AB": f"{ab} - khi*AB", "AA": f"{a} - kmi*AA", "BB": f"{b} - kmi*BB",
                "nAA": f"{into}*kmi*AA - kho*nAA", "nAB": f"{into}*khi*AB - khe*nAB", "nBB": f"{into}*kmi*BB - kho*nBB",
            },
        ),
        _system(
            "STAT5 in a chain", 60.0, [1, 0, 0, 0, 0, 0], {"k1": 0.5, "k2": 2.0, "k3": 0.1, "k4": 0.5, "d": 0.05},
            {
                "S": "-k1*S*exp(-d*t) + 2*k4*n3", "P": "k1*S*exp(-d*t) - k2*P**2", "D": "k2*P**2/2 - k3*D",
                "n1": "k3*D - k4*n1", "n2": "k4*(n1 - n2)", "n3": "k4*(n2 - n3)",
            },
        ),
        _system(
            "MAPK cascade", 3000.0, [90, 10, 280, 10, 10],
            {
                "V1": 2.5, "Ki": 9.0, "K": 10.0, "V2": 0.25, "k3": 0.025, "k4": 0.025, "V5": 0.75,
                "V6": 0.75,
            },
            {  # after Kholodenko, Eur. J. Biochem. 267 (2000)
                "K3": f"-{up[0]} + {up[1]}", "K3p": f"{up[0]} - {up[1]}", "M": f"-{middle[0]} + {middle[3]}",
                "M1": f"{middle[0]} - {middle[1]} + {middle[2]} - {middle[3]}", "M2": f"{middle[1]} - {middle[2]}",
            },
        ),
        _system(
            "NF-kB", 20.0, [0.5, 0.5, 1.0], {"A": 0.007, "B": 954.5, "C": 0.035, "d": 2e-5, "e": 2e-5},
            {  # Krishna, Jensen and Sneppen, PNAS 103 (2006)
                "N": "A*(1 - N)/(e + I) - B*I*N/(d + N)", "Im": "N**2 - Im", "I": "Im - C*(1 - N)*I/(e + I)",
            },
        ),
        _system(
            "insulin receptor", 60.0, [1.0, 0, 0, 1.0, 0, 0],
            {"k1": 1.0, "k2": 0.2, "k3": 0.5, "k4": 0.05, "k5": 2.0, "k6": 0.3, "Km": 0.1},
            {
                "R": "-k1*R + k2*Ri", "Rp": "k1*R - k3*Rp", "Ri": "k3*Rp - k2*Ri",
                "S": "-k5*Rp*S/(Km + S) + k6*Sp", "Sp": "k5*Rp*S/(Km + S) - k6*Sp", "X": "k4*Sp - k2*X",
            },
        ),
        _system(
            "cAMP relay", 30.0, [1.0, 0.1, 0.5], {"k1": 1.4, "k2": 0.9, "k3": 2.5, "k4": 1.5, "k5": 0.6, "k6": 0.8},
            {"a": "k1*r - k2*a*c", "r": "k3*a - k4*r", "c": "k5 + k6*r - k2*c"},
        ),
    ]  # fmt: skip


def _pharmacokinetics() -> list[Problem]:
    """Amounts in mg, hours and litres; the target-mediated one in nmol."""
    return [
        _system(
            "oral dose", 48.0, [320.0, 0.0], {"ka": 1.5, "CL": 2.8, "V": 32.0},
            {"gut": "-ka*gut", "central": "ka*gut - CL/V*central"},
        ),
        _system(
            "two compartments", 72.0, [100.0, 0.0, 0.0], {"ka": 1.0, "CL": 5.0, "V1": 20.0, "Q": 10.0, "V2": 60.0},
            {
                "gut": "-ka*gut", "central": "ka*gut - (CL + Q)/V1*central + Q/V2*outer",
                "outer": "Q/V1*central - Q/V2*outer",
            },
        ),
        _system(
            "saturable elimination", 96.0, [300.0, 0.0], {"ka": 1.2, "Vmax": 20.0, "Km": 4.0, "V": 45.0},
            {"gut": "-ka*gut", "central": "ka*gut - Vmax*central/V/(Km + central/V)"},
        ),
        _system(
            "target-mediated", 672.0, [100.0, 10.0, 0.0],
            {"kel": 0.002, "kon": 0.09, "koff": 0.001, "kint": 0.01, "ksyn": 0.11, "kdeg": 0.011},
            {
                "L": "-kel*L - kon*L*R + koff*P", "R": "ksyn - kdeg*R - kon*L*R + koff*P",
                "P": "kon*L*R - (koff + kint)*P",
            },
        ),
        _system(
            "transit and response", 48.0, [100.0, 0, 0, 0, 10.0],
            {"kt": 3.0, "CL": 4.0, "V": 30.0, "kin": 2.0, "kout": 0.2, "IC50": 0.5},
            {
                "a1": "-kt*a1", "a2": "kt*(a1 - a2)", "a3": "kt*(a2 - a3)", "central": "kt*a3 - CL/V*central",
                "R": "kin*(1 - central/V/(IC50 + central/V)) - kout*R",
            },
        ),
    ]  # fmt: skip


def _epidemics() -> list[Problem]:
    """Infections of people and of cells, in days."""
    return [
        _system(
            "SIR", 100.0, [1e6 - 10, 10.0, 0.0], {"beta": 0.5, "gamma": 0.2},
            {"S": "-beta*S*I/1e6", "I": "beta*S*I/1e6 - gamma*I", "R": "gamma*I"},
        ),
        _system(
            "SEIR with births", 3650.0, [6e4, 100.0, 100.0, 9.3e5], {"b": 500.0, "beta": 1.4, "s": 0.125, "g": 0.2},
            {
                "S": "b - beta*S*I/1e6 - 5e-4*S", "E": "beta*S*I/1e6 - s*E - 5e-4*E", "I": "s*E - g*I - 5e-4*I",
                "R": "g*I - 5e-4*R",
            },
        ),
        _system(
            "malaria", 365.0, [0.01, 0.0, 0.001], {"m": 10.0, "a": 0.3, "b": 0.5, "r": 0.01, "mu": 0.12, "k": 0.1},
            {"h": "m*a*b*v*(1 - h) - r*h", "e": "a*h*(1 - e - v) - (k + mu)*e", "v": "k*e - mu*v"},
        ),
        _system(
            "HIV in cells", 200.0, [1e6, 0.0, 1e-3],
            {"s": 1e4, "d": 0.01, "k": 2.4e-8, "delta": 0.7, "N": 2e3, "c": 13},
            {"T": "s - d*T - k*T*V", "I": "k*T*V - delta*I", "V": "N*delta*I - c*V"},
        ),
        _system(
            "influenza in cells", 14.0, [4e8, 0.0, 0.0, 0.1], {"b": 3e-5, "k": 4.0, "d": 5.0, "p": 0.04, "c": 3.0},
            {"T": "-b*T*V", "E": "b*T*V - k*E", "I": "k*E - d*I", "V": "p*I - c*V"},
        ),
    ]  # fmt: skip


def _cells() -> list[Problem]:
    """Excitable membranes, populations of cells and reactors."""
    return [
        _system(
            "FitzHugh–Nagumo", 20.0, [-1.0, 1.0], {"a": 0.2, "b": 0.2, "c": 3.0},
            {"v": "c*(v - v**3/3 + w)", "w": "-(v - a + b*w)/c"},
        ),
        _system(
            "Morris–Lecar", 300.0, [-50.0, 0.0], {"C": 20.0, "gL": 2.0, "gCa": 4.4, "gK": 8.0, "I": 90.0, "phi": 0.04},
            {
                "V": "(I - gL*(V + 60) - gCa*(1 + tanh((V + 1.2)/18))/2*(V - 120) - gK*w*(V + 84))/C",
                "w": "phi*((1 + tanh((V - 2)/30))/2 - w)*cosh((V - 2)/60)",
            },
        ),
        _system(
            "Monod", 48.0, [0.1, 20.0, 0.0], {"mu": 0.5, "Ks": 0.2, "Y": 0.5, "kp": 0.1, "kd": 0.01},
            {"X": "mu*S/(Ks + S)*X - kd*X", "S": "-mu*S/(Ks + S)*X/Y", "P": "kp*X"},
        ),
        _system(
            "Lotka–Volterra", 20.0, [1.0, 1.0], {"alpha": 1.5, "beta": 1.0, "gamma": 1.0, "delta": 3.0},
            {"prey": "alpha*prey - beta*prey*predator", "predator": "gamma*prey*predator - delta*predator"},
        ),
    ]  # fmt: skip
