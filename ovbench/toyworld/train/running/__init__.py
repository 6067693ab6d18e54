"""How a training run goes, whatever it trains."""
