"""What the miniatures learn from: batches, texts, prompts and losses."""
