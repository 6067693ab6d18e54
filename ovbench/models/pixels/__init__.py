"""From images to what networks take, and from their maps back to pixels."""
