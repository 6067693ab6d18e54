"""All runs as a static site: pages that need no server and ask for nothing from elsewhere."""
