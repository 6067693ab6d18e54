"""Networks that are asked for one concept at a time, and were trained with boxes or masks."""
