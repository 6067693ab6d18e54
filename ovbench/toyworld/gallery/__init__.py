"""A page of pictures of the rendered world and of what its miniature models make of it.

``python -m ovbench.toyworld.gallery`` draws it; one module per kind of model would say more
than the page shows, so :mod:`~ovbench.toyworld.gallery.sheets` has one function for each.
"""
