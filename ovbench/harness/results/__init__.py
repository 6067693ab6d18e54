"""What a run leaves behind: records, its directory, its summary, and whose numbers they are."""
