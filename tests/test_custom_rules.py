"""Every derivative that eqff writes itself (`torch.autograd.Function`) is checked to second order somewhere."""

import ast
from pathlib import Path

import eqff

PACKAGE, TESTS = Path(eqff.__file__).parent, Path(__file__).parent

CHECKED = {
    "longrange/bessel.py:_K0": "longrange/test_bessel.py:test_values_and_derivatives",
    "longrange/bessel.py:_K1": "longrange/test_bessel.py:test_values_and_derivatives",
    "longrange/boys.py:_Boys": "longrange/test_boys.py:test_values_and_derivatives",
    "longrange/centroids/implicit.py:EffectiveField": (
        "longrange/centroids/test_self_consistent.py:test_derivatives_against_differences"
    ),
    "longrange/conjugate_gradient.py:_ImplicitSolve": (
        "longrange/test_equilibration.py:test_derivatives_against_differences"
    ),
    "longrange/solutions.py:_Solutions": (
        "longrange/test_solutions.py:test_derivatives_of_a_matrix_that_is_not_symmetric"
    ),
    "longrange/populations/minimum.py:_Vanishing": (
        "longrange/test_population_energy.py:test_derivatives_against_differences"
    ),
    "longrange/populations/minimum.py:_Inverted": (
        "longrange/test_population_energy.py:test_derivatives_against_differences"
    ),
    "nn/grouped.py:GroupedMap": "nn/test_grouped.py:test_derivatives",
    "nn/grouped.py:GroupedOuter": "nn/test_grouped.py:test_derivatives",
    "compilation/plain_parts.py:_Value": "compilation/test_plain_parts.py:test_derivatives_against_differences",
    "compilation/plain_parts.py:_First": "compilation/test_plain_parts.py:test_derivatives_against_differences",
    "longrange/implicit_transfer.py:_ImplicitTransfer": (
        "longrange/test_charge_transfer.py:test_derivatives_against_differences"
    ),
    "longrange/induction/implicit.py:LocalField": (
        "longrange/induction/test_induced_dipoles.py:test_derivatives_against_differences"
    ),
    "longrange/induction/implicit.py:StationaryEnergy": (
        "longrange/induction/test_induced_dipoles.py:test_derivatives_against_differences"
    ),
}
"""Rule: the test that gives it to gradgradcheck."""

ELSEWHERE = {
    "longrange/bessel.py:_ConstantBessel": "has no derivative (test_bessel.py)",
    "compilation/code.py:_Prediction": (
        "can't be differentiated twice: forces are part of what it computes; tests/compilation holds its derivative "
        "against the plain step's"
    ),
    "interfaces/calculator_energy.py:_Known": (
        "has no second derivatives and says so; tests/interfaces/test_calculator_energy.py checks the first"
    ),
    "dispersion/mbd/matrix_sqrt.py": "tests/dispersion/mbd/test_matrix_sqrt.py checks all of its rules",
    "kernels/bilinear.py": "tests/kernels/test_fused.py checks all of its rules",
    "kernels/linear.py": "tests/kernels/test_fused.py checks all of its rules",
    "kernels/mesh.py": "tests/kernels/test_mesh_and_pairs.py checks all of its rules",
    "kernels/messages.py": "tests/kernels/test_fused.py checks all of its rules",
    "kernels/products.py": "tests/kernels/test_fused.py checks all of its rules",
    "longrange/multipoles/fused.py": "tests/kernels/test_mesh_and_pairs.py checks all of its rules",
}


def rules():
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            bases = [ast.unparse(base) for base in node.bases] if isinstance(node, ast.ClassDef) else []
            if any(base.endswith("autograd.Function") for base in bases):
                found.add(f"{path.relative_to(PACKAGE).as_posix()}:{node.name}")
    return {rule for rule in found if rule not in ELSEWHERE and rule.split(":")[0] not in ELSEWHERE}


def test_every_rule_has_its_test():
    assert rules() == set(CHECKED), "give a new rule to gradgradcheck in a test, and name that here"


def test_those_tests_check_second_derivatives():
    for place in CHECKED.values():
        path, name = place.split(":")
        functions = [n for n in ast.walk(ast.parse((TESTS / path).read_text())) if isinstance(n, ast.FunctionDef)]
        (body,) = [ast.unparse(function) for function in functions if function.name == name]
        assert "gradgradcheck(" in body, place
