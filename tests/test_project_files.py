"""CONTRIBUTING.md, CHANGELOG.md, CITATION.cff and the workflows: their form, by kept tools, and their words."""

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path

import contributing
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
SECTIONS = contributing.sections((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
needs_validators = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("check_jsonschema", "kacl"))),
    reason="no validators of forms: uv run --group forms pytest tests/test_project_files.py",
)


def validated(*words):
    done = subprocess.run([Path(sys.executable).parent / words[0], *words[1:]], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def schema(name, *paths):
    return validated("check-jsonschema", "--builtin-schema", f"vendor.{name}", *map(str, paths))


@needs_validators
def test_workflows_and_citation_have_their_form():
    assert schema("github-workflows", *WORKFLOWS)[0] == 0 and len(WORKFLOWS) == 2
    assert schema("citation-file-format", ROOT / "CITATION.cff")[0] == 0


@needs_validators
def test_changelog_has_its_form():
    assert validated("kacl-cli", "-f", str(ROOT / "CHANGELOG.md"), "verify")[0] == 0


@needs_validators
@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("github-workflows", "on: push\njobs: {check: {runs-on: ubuntu-latest, step: []}}\n"),
        ("citation-file-format", "cff-version: 1.2.0\nmessage: Cite.\ntitle: A\n"),
    ],
)
def test_a_wrong_form_is_seen(tmp_path, kind, text):
    (tmp_path / "file.yml").write_text(text)
    assert schema(kind, tmp_path / "file.yml")[0] == 1


@needs_validators
def test_a_wrong_changelog_is_seen(tmp_path):
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text(text.replace("### Added", "### New", 1), encoding="utf-8")
    assert validated("kacl-cli", "-f", str(tmp_path / "CHANGELOG.md"), "verify")[0] > 0


def test_one_version_and_one_title_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == project["version"] and citation["title"] == project["description"]
    assert " AND ".join(citation["license"]) == project["license"]
    assert f"\n## {project['version']} - " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"(c) 2026 {citation['authors'][0]['name']}\n" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_workflows_run_what_anybody_can_run():
    steps = [yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"] for path in WORKFLOWS]
    commands = [step["run"] for jobs in steps for job in jobs.values() for step in job["steps"] if "run" in step]
    assert commands == [".ci/run", "pip install uv && .ci/newest"]


def test_every_way_from_clone_to_push_is_followed_by_ci():
    assert "python3 tests/contributing.py" in CI.splitlines()
    assert {*contributing.EDITS} | {"Once"} == {*SECTIONS}
    for title, commands in SECTIONS.items():
        if title != "Once":
            assert commands[0].startswith("git switch -c") and commands[-1].startswith("git push"), title
    run_by_ci = {command for commands in SECTIONS.values() for command in commands if contributing.in_ci(command, CI)}
    assert len(run_by_ci) >= 4 and "uv run python notebooks/store.py 01" not in run_by_ci


def test_a_command_that_ci_does_not_run_is_known_as_such():
    assert not contributing.in_ci("uv run pytest -x", CI) and not contributing.in_ci("uv run", CI)
