"""One page that shows a run, or several side by side: numbers, confusions, costs and pictures."""
