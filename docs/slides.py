"""Slides of a lesson, made of its stored notebook: its questions, formulas and figures, and no code.

Each deck is one page: arrow keys, space and a swipe move, printing it gives a sheet a slide. It asks for nothing but
MathJax, which lies beside the site's pages.
"""

import base64
import html
import importlib.util
import itertools
import json
import re
import shutil
from pathlib import Path

from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

WIDE = 1.9  # a figure wider than that stands below the words
MANY = 4  # parts of a section that are listed
ABOUT = 12  # slides of a deck, where there are as many headings; a section always has one
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\([^)\s]+\)")
HEADING = re.compile(r"^(#{1,3}) (.+)$", re.M)
PREDICT = re.compile(r"\*\*Predict\b")
ENDS = "Further reading", "Exercises"

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --quiet: #555; --line: #0f68a8 }
@media (prefers-color-scheme: dark) { :root { --ink: #eee; --paper: #14181c; --quiet: #bbb; --line: #6cb8f0 } }
* { box-sizing: border-box }
html { scroll-snap-type: y proximity; font: clamp(15px, 1.75vw, 30px)/1.4 system-ui, sans-serif }
body { margin: 0; color: var(--ink); background: var(--paper) }
section { min-height: 100vh; padding: 4vmin 5vmin; scroll-snap-align: start; display: flex; flex-direction: column;
  border-bottom: 1px solid var(--quiet) }
h1, h2 { margin: 0 0 .5em; line-height: 1.15; border-left: .2em solid var(--line); padding-left: .5em }
h1 { font-size: 2.1em } h2 { font-size: 1.5em }
.both { flex: 1; display: flex; gap: 4vmin; align-items: center }
.both > * { flex: 1; min-width: 0 }
.words { flex: 1 } section > .words { flex: 1; align-content: center }
.stacked { flex-direction: column; align-items: stretch; justify-content: center } .stacked > * { flex: none }
.stacked img { max-height: 52vh } .wide { font-size: .85em; flex: none } .wide + .both img { max-height: 40vh }
.words > :first-child { margin-top: 0 }
.ask { border: .12em solid var(--line); border-radius: .4em; padding: .4em .8em }
img { display: block; max-width: 100%; max-height: 74vh; margin: auto; background: #fff; border-radius: .3em }
pre, .wide { overflow-x: auto } table { border-collapse: collapse } td, th { padding: .1em .6em; text-align: left }
code { font-size: .9em; overflow-wrap: anywhere } li { margin: .25em 0 }
footer { color: var(--quiet); font-size: .7em; display: flex; justify-content: space-between }
@media (max-width: 800px) { .both { flex-direction: column; align-items: stretch } }
@media print {
  @page { size: 1280px 720px; margin: 0 }
  :root { --ink: #1a1a1a; --paper: #fff; --quiet: #555; --line: #0f68a8 }
  html { font-size: 23px } section { height: 720px; min-height: 0; padding: 32px 44px; border: 0; break-after: page;
    overflow: hidden } img { max-height: 500px } .stacked img { max-height: 380px }
  .wide + .stacked img { max-height: 230px }
  .both:not(.stacked) { flex-direction: row; align-items: center } .wide { overflow: hidden }
}
"""

SCRIPT = """
window.MathJax = {tex: {packages: {"[-]": ["noundefined", "noerrors"]}}, options: {enableMenu: false}};
addEventListener("keydown", event => {
  const step = {ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1}[event.key];
  if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
  const all = [...document.querySelectorAll("section")], tops = all.map(one => one.getBoundingClientRect().top);
  const here = tops.reduce((best, top, i) => Math.abs(top) < Math.abs(tops[best]) ? i : best, 0);
  all[Math.min(all.length - 1, Math.max(0, here + step))].scrollIntoView();
  event.preventDefault();
});
"""


def text_of(cell):
    return "".join(cell["source"])


def markdown(text):
    """HTML of Markdown with formulas, its links only words: they lead into the notebook."""

    def formula(content, options):
        content = html.escape(content.strip())
        if options["display_mode"]:
            return f'<div class="math wide" tabindex="0">\\[{content}\\]</div>'
        return f'<span class="math">\\({content}\\)</span>'

    renderer = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin, double_inline=True)
    renderer.add_render_rule("math_inline", lambda self, tokens, i, *_: formula(tokens[i].content, {"display_mode": 0}))
    for rule in ("math_block", "math_inline_double"):
        renderer.add_render_rule(rule, lambda self, tokens, i, *_: formula(tokens[i].content, {"display_mode": 1}))
    return renderer.render(LINK.sub(r"\1", text))


def page(title, body, mathjax, style="", script=""):
    """A whole page; `mathjax` is where MathJax lies, as seen from the page."""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<style>{STYLE}{style}</style>\n<script>{script or SCRIPT}</script>\n"
        f'<script defer src="{mathjax}/tex-chtml.js"></script>\n</head>\n'
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def sections(notebook):
    """[(level, title, cells)] of the parts of a notebook that begin at a heading."""
    found = [(1, "", [])]
    for cell in notebook["cells"]:
        if cell["cell_type"] != "markdown":
            found[-1][2].append(cell)
            continue
        source, start = text_of(cell), 0
        for match in HEADING.finditer(re.sub(r"```.*?```", lambda code: "·" * len(code[0]), source, flags=re.S)):
            if source[start : match.start()].strip():
                found[-1][2].append({**cell, "source": source[start : match.start()]})
            found.append((len(match[1]), match[2], []))
            start = match.end()
        found[-1][2].append({**cell, "source": source[start:]})
    return [part for part in found if part[1]]


def figures(cells):
    """[(PNG in base64, text alternative)] of the outputs, in their order."""
    outputs = [output for cell in cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
    return [
        ("".join(output["data"]["image/png"]).replace("\n", ""), output["metadata"]["image/png"]["alt"])
        for output in outputs
    ]


def _is_wide(png):
    """Whether a PNG is more than WIDE times as wide as high, by its header."""
    header = base64.b64decode(png[:64])
    return int.from_bytes(header[16:20], "big") > WIDE * int.from_bytes(header[20:24], "big")


def _picture(figure):
    return f'<div><img src="data:image/png;base64,{figure[0]}" alt="{html.escape(figure[1])}"></div>'


def _words(cells, below):
    """What a slide says: a formula; what the section is made of, where it has many parts, else the paragraph with its
    first question, or how it begins."""
    texts = [re.sub(r"```.*?```", "", text_of(cell), flags=re.S) for cell in cells if cell["cell_type"] == "markdown"]
    formulas = [match[0] for text in texts for match in re.finditer(r"\$\$.*?\$\$", text, re.S)]
    paragraphs = [part for text in texts for part in re.split(r"\n\s*\n", text)]
    asked = next((i for i, part in enumerate(paragraphs) if PREDICT.search(part)), None)
    words, question = "", ""
    leads = below or [match[1] for part in paragraphs if (match := re.match(r"\*\*(\d.+?)\*\*", part))]
    if len(leads) >= MANY:
        words = "\n".join(f"- {lead}" for lead in leads)
    elif asked is None:
        words = _beginning("\n\n".join(texts))
    else:
        cut = PREDICT.search(paragraphs[asked]).start()
        words = re.sub(r"\$\$.*?\$\$", "", paragraphs[asked][:cut], flags=re.S)
        own = next(text for text in texts if paragraphs[asked] in text).partition(paragraphs[asked])[2]
        after = re.split(r"\n\s*\n", own)[1:]  # not the next cell's list: it answers
        listed = itertools.takewhile(lambda part: re.match(r"\d\. |- ", part), after)
        question = "\n\n".join([paragraphs[asked][cut:], *listed])
    learnt = [part for part in paragraphs if part.startswith("**We learned**")]
    said = markdown("\n\n".join([words, *learnt[:1]]))
    return "".join(map(markdown, formulas[:1])), f'<div class="words">{said}{_asked(question)}</div>'


def _asked(text):
    return f'<div class="ask">{markdown(text)}</div>' if text else ""


def _beginning(text):
    """The first sentences of a text, a short paragraph's worth."""
    plain = (part.strip() for part in re.split(r"\n\s*\n", re.sub(r"\$\$.*?\$\$", "\n\n", text, flags=re.S)))
    first = " ".join(part for part in plain if part and part[0] not in "#|-`!<" and not part[0].isdigit())
    kept = ""
    for sentence in re.split(r"(?<=[.:?!])\s+(?=[A-Z*(])", first):
        if kept and len(kept) + len(sentence) > 260:
            break
        kept += f" {sentence}"
    return kept.strip()


def _opening(notebook, picture):
    """The title with the finished picture; the objectives."""
    text = text_of(notebook["cells"][0])
    title = re.match(r"# (.+)", text)[1]
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", text)[1:]]
    alt = next(re.match(r"!\[(.*?)\]", part, re.S)[1] for part in paragraphs if part.startswith("!["))
    at = next(i for i, part in enumerate(paragraphs) if part.startswith("**At the end"))
    lines = [part for part in paragraphs[:at] if not part.startswith(("![", "[", "Open in"))]
    told = f'<div class="words">{markdown(chr(10).join(f"{line}{chr(10)}" for line in lines))}</div>'
    yield f"<h1>{html.escape(title)}</h1>", f'<div class="both stacked">{told}{_picture((picture, alt))}</div>'
    aims = next(part for part in paragraphs[at + 1 :] if part.startswith("1."))
    yield "<h2>At the end you will be able to</h2>", f'<div class="words">{markdown(aims)}</div>'


def _closing(parts):
    cells = next((cells for _, title, cells in parts if title == "What you did"), [])
    items = [line for cell in cells for line in text_of(cell).splitlines() if re.match(r"\d+\. ", line)]
    if items:
        yield "<h2>What you did</h2>", f'<div class="words">{markdown(chr(10).join(items))}</div>'


def slides(notebook, picture):
    """[(heading, content)] as HTML.

    Args:
      notebook: the parsed JSON of a stored lesson.
      picture: its finished picture, a PNG in base64.

    Returns:
      The title, the objectives, a slide for each section, further ones for sub-sections with a figure as long as the
      deck has fewer than ABOUT, and what was done.
    """
    parts = [part for part in sections(notebook) if part[0] > 1]
    kept = [part for part in parts if part[1] != "What you did" and not any(end in part[1] for end in ENDS)]
    own = {i for i, (level, _, cells) in enumerate(kept) if level == 3 and figures(cells)}
    room = ABOUT - 3 - sum(level == 2 for level, _, _ in kept)
    chosen = {*sorted(own)[: max(0, room)]}
    found = [*_opening(notebook, picture)]
    for i, (level, title, cells) in enumerate(kept):
        under = [*itertools.takewhile(lambda part: part[0] > 2, kept[i + 1 :])]
        if level == 2:
            cells = [*cells, *(cell for j, part in enumerate(under, i + 1) if j not in chosen for cell in part[2])]
        elif i not in chosen:
            continue
        figure = figures(cells)[:1]
        formula, words = _words(cells, [title for below, title, _ in under if below == 3] if level == 2 else [])
        stacked = " stacked" * bool(figure and _is_wide(figure[0][0]))
        content = f'{formula}<div class="both{stacked}">{words}{"".join(map(_picture, figure))}</div>'
        found.append((f"<h2>{markdown(title).strip()[3:-4]}</h2>", content))
    return [*found, *_closing(parts)]


def deck(notebook, picture, mathjax):
    """The page with all slides of a lesson."""
    all_of_them = slides(notebook, picture)
    title = html.unescape(re.sub("<[^>]+>", "", all_of_them[0][0]))
    body = "\n".join(
        f'<section id="slide-{i}">{heading}{content}'
        f"<footer><span>{html.escape(title)}</span><span>{i} of {len(all_of_them)}</span></footer></section>"
        for i, (heading, content) in enumerate(all_of_them, 1)
    )
    return page(title, body, mathjax)


def decks(root, mathjax):
    """{stem: page} for all lessons of the course that lies in `root`."""
    found = {}
    for path in sorted(Path(root, "notebooks").glob("*.ipynb")):
        picture = base64.b64encode(Path(root, "docs", "pictures", f"{path.stem}.png").read_bytes()).decode()
        found[path.stem] = deck(json.loads(path.read_text(encoding="utf-8")), picture, mathjax)
    return found


def copy_mathjax(target):
    """What the pages ask for, 2 of the package's 24 MB. It is no Python module, as its name has hyphens."""
    source = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
    for part in ("input/tex/extensions", "output/chtml/fonts/woff-v2"):
        shutil.copytree(source / part, target / part, dirs_exist_ok=True)
    shutil.copy(source / "tex-chtml.js", target)
