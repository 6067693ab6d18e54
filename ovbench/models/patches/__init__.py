"""Vision transformers read patch by patch, and what is made of their patches."""
