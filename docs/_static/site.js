// Code, tables and formulas that are too wide scroll inside themselves, and the keyboard must reach them to do so.
// The theme sees to that for what is open when the page has loaded, and not for formulas.
const SCROLLING = ".bd-article pre, .pst-scrollable-table-container, mjx-container[display]";
const reachAll = () => {
  for (const box of document.querySelectorAll(SCROLLING)) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
};
window.addEventListener("load", () => {
  reachAll();
  window.MathJax?.startup?.promise?.then(reachAll);
});
window.addEventListener("resize", reachAll);
document.addEventListener("toggle", reachAll, true); // of a fold
