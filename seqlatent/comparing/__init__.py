"""All models side by side on the same data: the families' table, measured, and a page about it.

families.py    what a model's class says of itself: objective, latent code, probability
parts.py       training, held-out and test data; steps ahead; windows that are drawn again
fitting.py     every model under an equal share of the budget
measuring.py   what the test data say of one fitted model
results.py     the table, with differences to the best and their errors
headline.py    which model one would take, and how sure that is
pictures.py    the pictures of a model
page.py        the report's content
compare.py     `compare`, all of it
"""
