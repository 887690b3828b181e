"""Reports as one HTML page each, which opens without a network: text, tables, pictures.

No module here knows a model or a task. A page is given words, numbers and pictures, and one
template makes it readable: by keyboard, on a dark or a light ground, on a phone or a desktop.
"""

from seqlatent.reports.page import Cell, Column, Image, Page, Section, Table, render

__all__ = ["Cell", "Column", "Image", "Page", "Section", "Table", "render"]
