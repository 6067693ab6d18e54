"""Pictures and label maps drawn for people to look at."""
