"""Methods on CLIP that pool or vote within class-agnostic regions of another model."""
