"""Official archives: fetched, checked, unpacked."""
