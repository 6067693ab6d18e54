"""What is counted on an image, and every score that follows from it."""
