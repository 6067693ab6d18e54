"""A method and a dataset for ovbench in a package of their own."""
