"""Methods that are one network: shown a prompt and its mask, it paints the mask of a picture."""
