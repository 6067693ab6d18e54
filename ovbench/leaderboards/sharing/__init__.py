"""Results for others: pooled in a repository, and as cards of the Hugging Face hub."""
