"""What methods cost over batch sizes, image sizes and precisions."""
