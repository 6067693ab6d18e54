"""One module per benchmark, and the class-name files."""
