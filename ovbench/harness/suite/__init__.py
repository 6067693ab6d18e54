"""Many runs from one file: what is asked for, what there is of it, and who measures the rest."""
