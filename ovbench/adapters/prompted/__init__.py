"""Methods that ask a network for one class at a time; all were trained with boxes or masks."""
