"""Networks that were trained to give every pixel a vector in a CLIP's space of texts."""
