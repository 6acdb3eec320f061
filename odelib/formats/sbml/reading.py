"""SBML → a model. Needs libsbml: `pip install odefit[sbml]`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import libsbml

from odelib.formats.errors import UnsupportedError
from odelib.formats.expression_text import ZERO, names_of, replace_names, total
from odelib.formats.model import Model, ModelEvent
from odelib.formats.sbml.mathematics import Converter
from odelib.problem.expressions.names import name_error
from odelib.problem.expressions.parser import Name, Node, Number, Operation

AMOUNT = "_amount"  # of the state that is the amount of a species whose compartment changes its size


def read_sbml(path: Path, overridden: frozenset[str] = frozenset()) -> Model:
    """Read a model. overridden: identifiers of constants that are given elsewhere, and keep their names in formulas.

    A species' name is its concentration, or its amount where the file says `hasOnlySubstanceUnits`. Units are ignored.
    Raises `UnsupportedError` for what cannot be said in a request: by name, never by leaving it out.
    """
    document = libsbml.readSBMLFromFile(str(path))
    for i in range(document.getNumErrors()):
        error = document.getError(i)
        if error.getSeverity() >= libsbml.LIBSBML_SEV_ERROR:
            raise UnsupportedError(f"{path} is not valid SBML: line {error.getLine()}: {error.getMessage().strip()}")
    document = _flattened(document)
    if document.getModel() is None:
        raise UnsupportedError(f"{path} contains no model")
    return _Reader(document.getModel(), overridden).read()


def _flattened(document: Any) -> Any:
    """The document without submodels; refuses packages that change the mathematics."""
    for i in range(document.getNumPlugins() if document.getLevel() >= 3 else 0):
        name = document.getPlugin(i).getPackageName()
        if name == "l3v2extendedmath" or not document.getPackageRequired(name):
            continue
        if name != "comp":
            raise UnsupportedError(f"the model needs the SBML package {name!r}")
        options = libsbml.ConversionProperties()
        options.addOption("flatten comp", True)
        if document.convert(options) != libsbml.LIBSBML_OPERATION_SUCCESS:
            raise UnsupportedError("the model's submodels cannot be put together")
    return document


class _Reader:
    """Reads one model."""

    def __init__(self, source: Any, overridden: frozenset[str]) -> None:
        self._source, self._overridden = source, overridden
        self._model = Model(title=source.getName() or source.getId())
        self._names = self._choose_names()
        functions = {each.getId(): each for each in source.getListOfFunctionDefinitions()}
        self._formulas = Converter(self._names, functions, self._rate_of)
        self._assigned: dict[str, Node] = {}  # by assignment rules
        self._rated: dict[str, Node] = {}  # by rate rules
        self._event_targets: set[str] = set()
        self._reacting: dict[str, list[tuple[float | Node, Node]]] = {}
        self._resized: set[str] = set()  # compartments that change their size

    def read(self) -> Model:
        source = self._source
        if count := source.getNumConstraints():
            self._model.notes.append(f"{count} constraint(s) are ignored: they only check a simulation")
        self._read_rules()
        self._read_event_targets()
        self._read_compartments()
        self._read_parameters()
        self._read_stoichiometries()
        self._read_reactions()
        self._read_species()
        self._read_initial_assignments()
        self._read_events()
        self._resolve_rates_of()
        if not self._model.rates:
            self._model.rates["elapsed_time"], self._model.starts["elapsed_time"] = Number(1.0), ZERO
            self._model.notes.append("the model has no state: the state elapsed_time was added")
        self._model.settle_constants()
        self._check_values()
        return self._model

    def _choose_names(self) -> dict[str, str]:
        """Identifiers that may not stand in a request, and what they become."""
        source, found = self._source, {}
        lists = (source.getListOfCompartments(), source.getListOfSpecies(), source.getListOfParameters(),
                 source.getListOfReactions(), source.getListOfEvents())  # fmt: skip
        taken = {each.getId() for group in lists for each in group}
        for group in lists:
            for each in group:
                name = each.getId()
                if name and name_error(name) is not None:
                    new = name + "_"
                    while new in taken:
                        new += "_"
                    taken.add(new)
                    found[name] = new
                    self._model.notes.append(f"{name} is called {new}: {name_error(name)}")
        return found

    def _name(self, identifier: str) -> str:
        return self._names.get(identifier, identifier)

    def _read_rules(self) -> None:
        for rule in self._source.getListOfRules():
            if rule.isAlgebraic():
                raise UnsupportedError("the model has an algebraic rule; only differential equations can be solved")
            name = self._name(rule.getVariable())
            if not rule.isSetMath():
                continue  # as if it were not there
            formula = self._formulas.convert(rule.getMath(), f"the rule for {rule.getVariable()}")
            (self._assigned if rule.isAssignment() else self._rated)[name] = formula

    def _read_event_targets(self) -> None:
        for event in self._source.getListOfEvents():
            for assignment in event.getListOfEventAssignments():
                if assignment.isSetMath():
                    self._event_targets.add(self._name(assignment.getVariable()))

    def _add_quantity(self, name: str, value: float | None, *, is_parameter: bool = False) -> None:
        """A compartment, parameter or stoichiometry."""
        model = self._model
        if name in self._assigned:
            model.definitions[name] = self._assigned[name]
            return
        if name in self._rated or name in self._event_targets:
            model.rates[name] = self._rated.get(name, ZERO)
            if value is not None:
                model.starts[name] = Number(value)
            return
        model.values[name] = value
        if is_parameter:
            model.parameters.append(name)

    def _read_compartments(self) -> None:
        for compartment in self._source.getListOfCompartments():
            name = self._name(compartment.getId())
            value = compartment.getSize() if compartment.isSetSize() else None
            if value is None and (self._source.getLevel() < 3 or compartment.getId() not in self._started()):
                value = 1.0
                if name not in self._assigned:
                    self._model.notes.append(f"compartment {compartment.getId()} has no size: 1 is taken")
            self._add_quantity(name, value)
            if name not in self._model.values:
                self._resized.add(compartment.getId())

    def _started(self) -> set[str]:
        return {each.getSymbol() for each in self._source.getListOfInitialAssignments() if each.isSetMath()}

    def _read_parameters(self) -> None:
        for parameter in self._source.getListOfParameters():
            value = parameter.getValue() if parameter.isSetValue() else None
            self._add_quantity(self._name(parameter.getId()), value, is_parameter=True)

    def _read_stoichiometries(self) -> None:
        """Stoichiometries with an identifier may stand in formulas, and be set by rules."""
        for reaction in self._source.getListOfReactions():
            for reference in (*reaction.getListOfReactants(), *reaction.getListOfProducts()):
                if reference.isSetId() and reference.isSetStoichiometryMath():
                    self._assigned[self._name(reference.getId())] = self._stoichiometry_formula(
                        reference, reaction.getId()
                    )
                if reference.isSetId():
                    value = reference.getStoichiometry() if reference.isSetStoichiometry() else None
                    if value is None and reference.getId() not in self._started():
                        value = 1.0
                    self._add_quantity(self._name(reference.getId()), value)

    def _read_reactions(self) -> None:
        for reaction in self._source.getListOfReactions():
            name, law = reaction.getId(), reaction.getKineticLaw()
            if reaction.isSetFast() and reaction.getFast():
                raise UnsupportedError(f"reaction {name} is fast; only differential equations can be solved")
            if law is None or not law.isSetMath():
                if self._is_used_in_formulas(name):
                    raise UnsupportedError(f"reaction {name} has no kinetic law")
                continue
            local: dict[str, Node] = {}
            for parameter in (
                law.getListOfParameters() if self._source.getLevel() < 3 else law.getListOfLocalParameters()
            ):
                own = f"{name}_{parameter.getId()}"
                while own in self._model.values or own in self._names.values() or self._source.getElementBySId(own):
                    own += "_"
                local[parameter.getId()] = Name(own)
                self._model.values[own] = parameter.getValue() if parameter.isSetValue() else None
                self._model.parameters.append(own)
            rate = self._formulas.convert(law.getMath(), f"the rate of reaction {name}", local)
            self._model.definitions[self._name(name)] = rate
            self._add_changes(reaction, Name(self._name(name)))

    def _is_used_in_formulas(self, name: str) -> bool:
        trees = [*self._assigned.values(), *self._rated.values()]
        return any(self._name(name) in names_of(tree) for tree in trees)

    def _add_changes(self, reaction: Any, rate: Node) -> None:
        for sign, references in ((-1.0, reaction.getListOfReactants()), (1.0, reaction.getListOfProducts())):
            for reference in references:
                changes = self._reacting.setdefault(reference.getSpecies(), [])
                stoichiometry = self._stoichiometry(reference, reaction.getId())
                if isinstance(stoichiometry, float):
                    changes.append((sign * stoichiometry, rate))
                else:
                    changes.append((sign, Operation("*", (stoichiometry, rate))))

    def _stoichiometry(self, reference: Any, reaction: str) -> float | Node:
        if reference.isSetId():
            name = self._name(reference.getId())
            value = self._model.values.get(name)
            is_number = value is not None and reference.getId() not in self._started()
            return value if is_number and value is not None else Name(name)
        if reference.isSetStoichiometryMath():
            return self._stoichiometry_formula(reference, reaction)
        value = float(reference.getStoichiometry()) if reference.isSetStoichiometry() else 1.0
        return value

    def _stoichiometry_formula(self, reference: Any, reaction: str) -> Node:
        return self._formulas.convert(reference.getStoichiometryMath().getMath(), f"reaction {reaction}")

    def _read_species(self) -> None:
        for species in self._source.getListOfSpecies():
            self._read_one_species(species)

    def _read_one_species(self, species: Any) -> None:
        identifier, model = species.getId(), self._model
        name = self._name(identifier)
        compartment = self._source.getCompartment(species.getCompartment())
        size = Name(self._name(species.getCompartment()))
        has_size = compartment.getSpatialDimensionsAsDouble() > 0 or compartment.isSetSize()
        is_amount = species.getHasOnlySubstanceUnits() or not has_size
        start = self._initial_value(species, size, is_amount=is_amount)
        if name in self._assigned:
            model.definitions[name] = self._assigned[name]
            return
        if name in self._rated:
            model.rates[name] = self._rated[name]
            if start is not None:
                model.starts[name] = start
            return
        changes = [] if species.getBoundaryCondition() or species.getConstant() else self._reacting.get(identifier, [])
        factor = species.getConversionFactor() or self._source.getConversionFactor()
        rate = total(changes)
        if factor and changes:
            rate = Operation("*", (Name(self._name(factor)), rate))
        is_state = bool(changes) or name in self._event_targets
        if not is_amount and species.getCompartment() in self._resized:
            amount = name + AMOUNT
            model.rates[amount] = rate
            model.definitions[name] = Operation("/", (Name(amount), size))
            if start is not None:
                model.starts[amount] = Operation("*", (start, size))
            return
        if is_state:
            model.rates[name] = rate if is_amount or rate == ZERO else self._per_size(rate, size)
            if start is not None:
                model.starts[name] = start
        elif isinstance(start, Number) or start is None:
            model.values[name] = start.value if isinstance(start, Number) else None
        else:
            model.values[name], model.starts[name] = None, start

    def _per_size(self, rate: Node, size: Name) -> Node:
        is_one = self._model.values.get(size.name) == 1.0 and size.name not in self._overridden
        return rate if is_one else Operation("/", (rate, size))

    def _initial_value(self, species: Any, size: Name, *, is_amount: bool) -> Node | None:
        """The initial value of a species' symbol; an amount in the file is one at the compartment's size there."""
        number = self._model.values.get(size.name)
        is_number = number is not None and size.name not in self._overridden
        is_number = is_number and size.name not in {self._name(i) for i in self._started()}
        if species.isSetInitialAmount():
            amount = Number(species.getInitialAmount())
            if is_amount or amount == ZERO:
                return amount
            return Number(amount.value / number) if is_number and number else Operation("/", (amount, size))
        if species.isSetInitialConcentration():
            concentration = Number(species.getInitialConcentration())
            if not is_amount:
                return concentration
            return (
                Number(concentration.value * number) if is_number and number else Operation("*", (concentration, size))
            )
        return None

    def _read_initial_assignments(self) -> None:
        for assignment in self._source.getListOfInitialAssignments():
            if not assignment.isSetMath():
                continue
            name = self._name(assignment.getSymbol())
            start = self._formulas.convert(assignment.getMath(), f"the initial assignment of {name}")
            if name + AMOUNT in self._model.rates:
                compartment = self._source.getSpecies(assignment.getSymbol()).getCompartment()
                name, start = name + AMOUNT, Operation("*", (start, Name(self._name(compartment))))
            if name in self._model.definitions:
                continue
            is_given = assignment.getSymbol() in self._overridden and name in self._model.values
            (self._model.defaults if is_given else self._model.starts)[name] = start

    def _read_events(self) -> None:
        for number, event in enumerate(self._source.getListOfEvents()):
            name = event.getId() or f"event_{number + 1}"
            if not event.isSetTrigger() or not event.getTrigger().isSetMath():
                continue  # it never happens
            for present, what in ((event.isSetDelay(), "a delay"), (event.isSetPriority(), "a priority")):
                if present:
                    raise UnsupportedError(f"event {name} has {what}")
            targets = {}
            for assignment in event.getListOfEventAssignments():
                if assignment.isSetMath():
                    state, value = self._event_value(assignment, name)
                    targets[state] = value
            targets |= self._diluted(targets)
            if targets:
                when = self._formulas.condition(event.getTrigger().getMath(), f"the trigger of event {name}")
                at_start = self._source.getLevel() > 2 and not event.getTrigger().getInitialValue()
                self._model.events.append(ModelEvent(self._name(name), when, targets, at_start))

    def _diluted(self, targets: dict[str, Node]) -> dict[str, Node]:
        """Concentrations with a rate rule in compartments that an event resizes: their amounts stay.

        One that the event sets as well is set at the size before.
        """
        found: dict[str, Node] = {}
        for species in self._source.getListOfSpecies():
            name, size = self._name(species.getId()), self._name(species.getCompartment())
            is_concentration = not species.getHasOnlySubstanceUnits()
            if size in targets and name in self._rated and is_concentration:
                amount = Operation("*", (targets.get(name, Name(name)), Name(size)))
                found[name] = Operation("/", (amount, targets[size]))
        return found

    def _event_value(self, assignment: Any, event: str) -> tuple[str, Node]:
        name = self._name(assignment.getVariable())
        value = self._formulas.convert(assignment.getMath(), f"event {event}, which sets {assignment.getVariable()},")
        if name + AMOUNT in self._model.rates:
            compartment = self._source.getSpecies(assignment.getVariable()).getCompartment()
            return name + AMOUNT, Operation("*", (value, Name(self._name(compartment))))
        return name, value

    def _rate_of(self, name: str) -> Node:
        return Name(f"rate of {name}")  # replaced when all rates are known

    def _resolve_rates_of(self) -> None:
        model = self._model
        wanted = {name for name in model.used_names() if name.startswith("rate of ")}
        if not wanted:
            return
        rates = {f"rate of {state}": rate for state, rate in model.rates.items()}
        for name in wanted - set(rates):
            quantity = name.removeprefix("rate of ")
            if quantity not in model.values:
                raise UnsupportedError(f"rateOf({quantity}): only the rates of states are known")
            rates[name] = ZERO
        for _ in range(len(rates)):  # a rate may contain rates
            rates = {name: replace_names(rate, rates) for name, rate in rates.items()}
        for trees in (model.rates, model.starts, model.definitions):
            trees.update({name: replace_names(tree, rates) for name, tree in trees.items()})
        model.events = [event.replace_names(rates) for event in model.events]

    def _check_values(self) -> None:
        """Refuse what is used and has no value, and drop what is not used and has none."""
        used = self._model.used_names()
        for name in [n for n, value in self._model.values.items() if value is None]:
            if name in used and name not in self._overridden:
                raise UnsupportedError(f"{name} has no value in the file")
            if name not in self._overridden:
                del self._model.values[name]
        self._model.parameters = [name for name in self._model.parameters if name in self._model.values]
