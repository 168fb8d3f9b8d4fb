"""The ways to set up agree with each other, and the README's words are run, not trusted."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml
from first_command import first_command
from packaging.requirements import Requirement
from scipy import stats

from helpers import runtime
from helpers.fitting import StepwiseEM
from helpers.layout import MixtureLayout

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, flags=re.M | re.S)


def pins(requirements):
    return {Requirement(text).name: Requirement(text).specifier for text in requirements}


def disagreements(conda, pyproject):
    """A sentence for each pin of the parsed environment.yml that is not pyproject's, and for each that is missing."""
    pip = next(part["pip"] for part in conda["dependencies"] if isinstance(part, dict))
    theirs = pins(text for text in pip if not text.startswith("-e"))
    groups = pyproject["dependency-groups"]["dev"]
    ours = pins([*pyproject["project"]["dependencies"], *groups])
    ours.pop("ruff")  # style, not needed to run anything
    names = sorted(ours.keys() | theirs.keys())
    return [f"{n}: {theirs.get(n)} and {ours.get(n)}" for n in names if ours.get(n) != theirs.get(n)]


def environment():
    return yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def test_environment_has_the_form_that_conda_and_binder_read():
    conda = environment()
    assert conda.keys() == {"name", "channels", "dependencies"} and conda["channels"] == ["conda-forge"]
    python = next(text for text in conda["dependencies"] if str(text).startswith("python="))
    assert python.removeprefix("python=") in Requirement("python" + PYPROJECT["project"]["requires-python"]).specifier
    assert "pip" in conda["dependencies"]
    assert "-e ." in next(part["pip"] for part in conda["dependencies"] if isinstance(part, dict))


def test_environment_has_pyprojects_pins():
    assert disagreements(environment(), PYPROJECT) == []


def test_a_pin_that_differs_or_is_missing_is_named():
    conda = environment()
    pip = conda["dependencies"][-1]["pip"]
    pip[pip.index("tf-keras==2.21.*")] = "tf-keras==2.20.*"
    pip.remove("scipy==1.17.*")
    assert disagreements(conda, PYPROJECT) == ["scipy: None and ==1.17.*", "tf-keras: ==2.20.* and ==2.21.*"]


def test_every_pin_has_a_reason_and_no_lock_file_is_kept():
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    pinned = [line for line in lines if re.match(r'    "[a-z0-9-]+[<=>]', line)]
    assert len(pinned) >= 18 and [line for line in pinned if not re.search(r'",\s+# \w+', line)] == []
    assert "uv.lock" in (ROOT / ".gitignore").read_text(encoding="utf-8").split()


def test_ci_runs_the_readmes_two_commands():
    commands = re.findall(r"^```sh\n(.*?)\n```", README, flags=re.M | re.S)
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert commands[:2] == ["pip install uv && uv run jupyter lab notebooks", "pip install uv && uv run pytest"]
    assert first_command() == commands[0] and "python3 tests/first_command.py" in ci  # it takes it from the README
    assert commands[1] in ci


@pytest.mark.parametrize(("argument", "there"), [("tests", False), ("tests/browser", True)])
def test_the_tests_in_a_browser_run_where_they_are_named_and_only_there(argument, there):
    words = ["pytest", "--collect-only", "-q", "-rs", "-n", "0", "--noconftest", argument]
    words += [f"--ignore-glob={ROOT / 'tests'}/test_*.py", "-p", "no:cacheprovider"]
    found = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, timeout=300).stdout
    assert ("tests/browser/" in found) == there, found  # collected, or skipped where its groups are not installed


def test_readme_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / target).exists(), target


# fewer lines than this: bivariate, TriL, stepwise EM, VAE, given x, beyond one machine, in service
LIMITS = {0: 20, 1: 20, 2: 12, 3: 40, 4: 40, 5: 27, 6: 20}


@pytest.mark.parametrize("index", range(len(SNIPPETS)))
def test_readme_snippet_runs_as_it_stands(index, capsys):
    source = SNIPPETS[index]
    lines = [line for line in source.splitlines() if line.strip()]
    assert len(lines) < LIMITS[index]
    tree = ast.parse(source)
    imported = {
        name.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
    }
    imported |= {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    ours = {2: {"numpy", "helpers"}} | dict.fromkeys((5, 6), {"numpy", "helpers", "tensorflow", "tempfile", "pathlib"})
    assert imported <= ours.get(index, {"tensorflow", "tensorflow_probability", "tf_keras"})
    runtime.set_seed(1)
    namespace = {}
    exec(compile(source, f"README snippet {index}", "exec"), namespace)
    assert capsys.readouterr().out.strip()
    if index == 1:
        fitted = namespace["model"](namespace["x"])
        assert fitted.mixture_distribution.probs_parameter().numpy().min() > 0.25  # no component has died
        assert abs(fitted.components_distribution.mean().numpy() - [[-4], [0], [4]]).max() < 0.3
    if index == 2:
        model, x, shift = namespace["model"], namespace["x"], np.arange(1.0, 11.0)
        mean = model(x).components_distribution.mean().numpy()
        assert abs(mean[mean[:, 0].argsort()] - [[-4], [0], [4]]).max() < 0.3
        other = type(model)(model.layout)
        other.fit(1e6 * x[:, ::-1] + shift, verbose=0)  # as the text above it says
        back = (other(x).components_distribution.mean().numpy() - shift)[:, ::-1] / 1e6
        assert abs(np.sort(back, axis=0) - np.sort(mean, axis=0)).max() < 0.01
    if index == 3:
        vector = namespace["prior"].trainable_variables[0]
        assert any(v is vector for v in namespace["vae"].trainable_variables)
    if index == 5:
        model = namespace["model"]
        assert model.steps.numpy() == 40 and namespace["backup"].restore(StepwiseEM(model.layout)) == 40
        assert model(0.0).mixture_distribution.probs_parameter().numpy().min() > 0.3  # a third each
    if index >= 5:
        shutil.rmtree(namespace["folder"])
    if index == 6:
        right = namespace["model"](namespace["x"]).log_prob(namespace["x"])
        np.testing.assert_allclose(namespace["log_prob"](x=namespace["rows"])["log_prob"], right, atol=1e-4)
    if index == 4:
        rng = np.random.default_rng(0)
        x_new, right = rng.uniform(-1, 1, (4000, 1)), rng.uniform(size=(4000, 1)) > 0.3
        centre, factor = np.concatenate([1 + x_new**2, np.sin(3 * x_new)], axis=1), np.array([[0.2, 0.15], [0, 0.1]])
        y_new = np.where(right, centre, -centre) + rng.normal(size=(4000, 2)) @ factor
        normal = stats.multivariate_normal(cov=factor.T @ factor)
        truth = np.logaddexp(np.log(0.3) + normal.logpdf(y_new + centre), np.log(0.7) + normal.logpdf(y_new - centre))
        found = namespace["model"](np.float32(x_new)).log_prob(np.float32(y_new)).numpy()
        assert -0.05 < truth.mean() - found.mean() < 0.1
        at = namespace["model"](np.float32([[0.5]]))  # branches at (1.25, 0.997) and the opposite point
        weights, means = at.mixture_distribution.probs_parameter()[0], at.components_distribution.mean()[0]
        left = means.numpy()[:, 0] < 0
        assert abs(weights.numpy()[left].sum() - 0.3) < 0.08
        for side, sign in ((left, -1), (~left, 1)):
            best = means.numpy()[side][weights.numpy()[side].argmax()]
            assert abs(best - sign * np.array([1.25, np.sin(1.5)])).max() < 0.25
    if index == 0:
        layout = MixtureLayout(2, 2, "full")
        params = np.random.default_rng(0).normal(size=(5, layout.params_size)).astype(np.float32)
        ours, theirs = layout.distribution(params), namespace["mixture"](params)
        np.testing.assert_array_equal(ours.log_prob([0.5, 1.0]), theirs.log_prob([0.5, 1.0]))
        means = namespace["model"](namespace["x"]).components_distribution.mean().numpy()
        assert abs(means[means[:, 0].argsort()] - [[-2, 2], [2, -2]]).max() < 0.25
