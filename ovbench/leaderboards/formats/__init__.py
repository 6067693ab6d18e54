"""Tables as files: Markdown, HTML, LaTeX, CSV, JSON, and for experiment trackers."""
