"""What every page of the site must be, each rule a function that returns a sentence for every breach of it."""

import contextlib
import functools
import http.server
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from axe_playwright_python.sync_playwright import Axe

# preload: axe would fetch the styles anew, and look for those that they import beside the page.
AXE = {"resultTypes": ["violations"], "preload": False}
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
# The thousands of glyphs inside formulas, whose colour is that of the text around them.
GLYPHS = {"exclude": [["mjx-container > *"]]}

# Formulas stand in elements of the class "math", which MathJax fills. TeX that Markdown took for none is plain text.
UNTYPESET = r"""() => {
    const found = [];
    for (const math of document.querySelectorAll(".math"))
        if (!math.querySelector("mjx-container")) found.push(`not typeset: ${math.textContent.trim()}`);
    for (const error of document.querySelectorAll("mjx-merror"))
        found.push(`MathJax: ${error.getAttribute("data-mjx-error") ?? error.textContent}`);
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const text = texts.currentNode;
        if (text.parentElement.closest("pre, code, script, style, .math")) continue;
        if (/\\[([]|\$\$|\$[^$\s][^$]*[\\_^][^$]*\$|\\[a-zA-Z]{2,}/.test(text.data))
            found.push(`TeX: ${text.data.trim()}`);
    }
    return found;
}"""

# Every picture of the site says something, so none may have an empty alternative; the theme shows no logo.
# Sphinx makes the file's name the alternative of a picture that has none.
PICTURES = r"""() => [...document.images].flatMap(image => [
    ...(image.alt.trim() && !/\.(png|jpe?g|gif|svg)$/.test(image.alt)
        ? [] : [`no text alternative: ${image.getAttribute("src")}`]),
    ...(image.naturalWidth ? [] : [`no picture: ${image.getAttribute("src")}`]),
])"""

# What Napoleon makes of a colon where it expects none, and a metaclass of a signature.
REFERENCE = r"""() => [...document.querySelectorAll("dl.py > dt.sig")].flatMap(signature => {
    const name = signature.id, found = [];
    const names = [...signature.querySelectorAll(".sig-param")].map(one => one.textContent.match(/\w+|$/)[0]);
    if (/\(\*args, \*\*kwargs\)/.test(signature.textContent)) found.push(`no signature: ${name}`);
    for (const field of signature.parentElement.querySelectorAll(":scope > dd > dl.field-list > dt")) {
        const what = field.textContent.replace(":", "").trim(), body = field.nextElementSibling;
        if (/type$/i.test(what)) found.push(`a piece of a sentence for a type: ${name}: ${body.textContent.trim()}`);
        for (const entry of body.querySelector(":scope > ul") ? body.querySelectorAll(":scope > ul > li") : [body]) {
            const first = (entry.querySelector("strong, a, code") ?? entry).textContent;
            if (what === "Parameters" && !names.includes(first) && !first.startsWith("**"))
                found.push(`no parameter: ${name}: ${first}`);
            if (what === "Raises" && !/^[\w.]+$/.test(first)) found.push(`no error: ${name}: ${first}`);
        }
    }
    return found;
})"""

# Opened, or nothing would be known of what is folded away, such as the solutions.
OPEN_ALL = "() => document.querySelectorAll('details').forEach(details => { details.open = true; })"

# No colours half-way from light to dark, and none shining through while a fold opens.
STILL = "*, *::before, *::after { transition: none !important; animation: none !important; }"

WIDTH = "() => [document.documentElement.scrollWidth, window.innerWidth]"


class _Page(HTMLParser):
    """The anchors of a page and where its links lead."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links = {"", "top"}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors |= {attributes[key] for key in ("id", "name") if attributes.get(key)}
        if tag in ("a", "link") and attributes.get("href") is not None:
            self.links.append(attributes["href"])


def pages(folder):
    """Paths, relative to `folder`, of its pages."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.html") if "_static" not in path.parts)


def dead_links(folder):
    """{page: sentences}: links inside the site that lead to no file or to no anchor of it."""
    parsed = {name: _Page((folder / name).read_text(encoding="utf-8")) for name in pages(folder)}
    found = {}
    for name, page in parsed.items():
        found[name] = []
        for link in page.links:
            target = urlsplit(urljoin(f"http://site/{name}", link))
            if target.netloc != "site":
                continue
            path = unquote(target.path).lstrip("/") or "index.html"
            if not (folder / path).is_file():
                found[name].append(f"no such page: {link}")
            elif path in parsed and unquote(target.fragment) not in parsed[path].anchors:
                found[name].append(f"no such place: {link}")
    return found


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def served(folder):
    """The address, with a slash at the end, at which the files of `folder` are served meanwhile."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


def accessibility_problems(page, rules=WCAG):
    violations = Axe().run(page, context=GLYPHS, options=AXE | {"runOnly": rules}).response["violations"]
    return [
        f"{violation['id']} ({violation['impact']}): {node['target'][0]}"
        for violation in violations
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


def problems(browser, origin, name):
    """What is wrong with a page: {rule: sentences}, an empty list for each rule that it keeps.

    Args:
      browser: of Playwright.
      origin: where the site is served, with a slash at the end.
      name: path of the page.
    """
    found = {"loading": [], "origin": []}
    context = browser.new_context(color_scheme="light", viewport={"width": 1280, "height": 900})
    page = context.new_page()

    def request(sent):
        if not sent.url.startswith((origin, "data:", "blob:")):
            found["origin"].append(f"asks elsewhere: {sent.url}")

    def failed(what, text, url):
        if url.startswith(origin):  # what fails elsewhere is named as a request elsewhere
            found["loading"].append(f"{what}: {text}")

    page.on("request", request)
    page.on("requestfailed", lambda sent: failed("failed", f"{sent.url} {sent.failure}", sent.url))
    page.on("response", lambda got: got.status < 400 or failed("status", f"{got.status} {got.url}", got.url))
    page.on("pageerror", lambda error: found["loading"].append(f"script: {error}"))
    page.on(
        "console", lambda said: said.type != "error" or failed("console", said.text, said.location["url"] or origin)
    )
    context.route(lambda url: not url.startswith(origin), lambda route: route.abort())  # heard, and not sent
    page.goto(origin + name, wait_until="load")
    page.evaluate("() => window.MathJax?.startup?.promise?.then(() => null)")
    page.add_style_tag(content=STILL)
    page.evaluate(OPEN_ALL)
    found["formulas"] = page.evaluate(UNTYPESET)
    found["pictures"] = page.evaluate(PICTURES)
    found["reference"] = page.evaluate(REFERENCE)
    found["light"] = accessibility_problems(page)
    page.emulate_media(color_scheme="dark")
    found["dark"] = accessibility_problems(
        page, ["color-contrast", "link-in-text-block"]
    )  # nothing else is other than in light
    page.set_viewport_size({"width": 390, "height": 844})
    page.evaluate("() => new Promise(requestAnimationFrame)")  # the page has heard of it
    width, screen = page.evaluate(WIDTH)
    found["width"] = [f"{width} pixels wide on a screen of {screen}"] if width > screen else []
    found["width"] += accessibility_problems(page, ["scrollable-region-focusable"])
    context.close()
    return found


def site_problems(browser, folder):
    """{rule: {page: sentences}} of a built site, with every page under every rule."""
    with served(folder) as origin:
        found = {name: problems(browser, origin, name) for name in pages(folder)}
    for name, sentences in dead_links(Path(folder)).items():
        found[name]["links"] = sentences
    rules = next(iter(found.values()))
    return {rule: {name: of_page[rule] for name, of_page in found.items()} for rule in rules}
