"""Networks that learned from captions to group the patches of a picture."""
