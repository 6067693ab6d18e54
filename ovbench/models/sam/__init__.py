"""SAM: masks from prompts, and proposals for whole images."""
