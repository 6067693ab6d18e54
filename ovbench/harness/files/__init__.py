"""Files: kept by content, shared by processes."""
