"""Image-text matchers: BLIP and BridgeTower, and where they look for each word."""
