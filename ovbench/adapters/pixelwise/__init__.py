"""Methods whose network was trained to give every pixel a vector that is compared with texts."""
