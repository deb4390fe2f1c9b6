"""Pictures of memory: one palette, HTML, SVG, plots and reports, all made of plain values.

Nothing here knows a Region or a Snapshot. Functions take names, numbers and addresses, and return
text: so classes of every package above can have `_repr_html_()` and the like, and imports still run
downward only.
"""
