"""What benchmarks' files hold: images, label maps, annotations, lists."""
