"""Class-agnostic regions of images, from generators that are chosen by name."""
