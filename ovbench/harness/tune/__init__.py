"""The search for settings: trials, kept and resumed."""
