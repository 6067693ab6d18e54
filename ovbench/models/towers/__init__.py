"""A vision transformer and a text transformer that learned from captions, place by place."""
