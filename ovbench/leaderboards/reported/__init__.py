"""What papers report, and which measurement it may be held against."""
