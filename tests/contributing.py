"""Follow CONTRIBUTING.md as it stands, in a clone of its own: `python tests/contributing.py`.

Each section is a change by somebody who has just read it: one word is changed, the commands of the section are run in
their order, and the branch arrives at the repository with that word and nothing else. What `.ci/run` runs anyway is not
run here once more. The clone is of the last commit.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ADDRESS = "https://github.com/OWNER/NAME"
# For each section that ends with a push: the file that is changed, a word of it, and another in its place.
EDITS = {
    "A notebook": ("notebooks/01_*.ipynb", "# 01 ", "# 01, again "),
    "A helper": ("helpers/checks.py", '"""The ', '"""Some of the '),
    "An assignment": ("notebooks/assignments/README.md", "# ", "# The "),
    "The site": ("docs/index.md", "# ", "# The "),
}


def sections(text):
    """{title: [commands, one a line]} of the numbered steps of each section."""
    found = {}
    for part in re.split(r"^## ", text, flags=re.M)[1:]:
        blocks = re.findall(r"^ {3}```sh\n(.*?)^ {3}```", part, flags=re.M | re.S)
        if blocks:
            found[part.split("\n", 1)[0]] = [line.strip() for block in blocks for line in block.splitlines()]
    return found


# What CI runs in other words: a command of CONTRIBUTING.md, and how a line of `.ci/run` that covers it ends.
COVERED = {
    "pip install uv && uv run jupyter lab notebooks": "first_command.py",  # which takes it from the README
    "uv run pytest tests": "uv run pytest",
    "uv run --group docs sphinx-build -W docs build/site": "pytest tests/browser",  # test_site.py, from the README too
}


def in_ci(command, ci):
    """Whether `.ci/run`, whose text is `ci`, runs a command."""
    return any(line == command or line.endswith(COVERED.get(command, "\0")) for line in ci.splitlines())


def expect_the_edit(title, diff):
    """Raise a RuntimeError where a diff, in which notebooks are text, shows more than the word that was changed."""
    changed = [line for line in diff.splitlines() if re.match(r"[+-](?!(--|\+\+) ([ab]/|/dev/null))", line)]
    if len(changed) != 2 or changed[1] != "+" + changed[0][1:].replace(*EDITS[title][1:], 1):
        raise RuntimeError(f"CONTRIBUTING.md: {title}: expected one word to differ, got\n{diff}")


def follow(folder):
    """Run all sections in `folder`; print what is run.

    Raises:
      RuntimeError: where a command fails, or a branch brings more than the word that was changed.
    """
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    fork, place = folder / "fork.git", folder
    identity = {
        f"GIT_{who}_{what}": f"{who}@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    environment = os.environ | identity | {"GIT_PAGER": "cat", "GIT_TERMINAL_PROMPT": "0"}

    def run(command):
        print(f"$ {command}", flush=True)
        words = command.replace(ADDRESS, str(fork))
        done = subprocess.run(["bash", "-c", words], cwd=place, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"CONTRIBUTING.md: {command}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    # receive.shallowUpdate: CI services clone the last commit only.
    run(f"git init -q --bare -b main {fork} && git -C {fork} config receive.shallowUpdate true")
    run(f"git -C {ROOT} push -q {fork} HEAD:refs/heads/main")
    for title, commands in sections(text).items():
        if title in EDITS:
            run("git switch -q --detach origin/HEAD")
        for command in commands:
            if in_ci(command, ci):
                continue
            seen = run(command)
            if command.startswith("cd "):
                place = folder / command[3:]
            if title in EDITS and command.startswith("git switch"):
                pattern, old, new = EDITS[title]
                (path,) = place.glob(pattern)
                content = path.read_text(encoding="utf-8")
                path.write_text(content.replace(old, new, 1), encoding="utf-8", newline="\n")
            if command == "git diff":
                expect_the_edit(title, seen)
        if title in EDITS:
            expect_the_edit(title, run("git diff origin/HEAD HEAD"))


def main():
    with tempfile.TemporaryDirectory() as folder:
        try:
            follow(Path(folder))
        except RuntimeError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
