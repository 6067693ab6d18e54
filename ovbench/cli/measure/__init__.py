"""Commands that ask a method, or that look at one run."""
