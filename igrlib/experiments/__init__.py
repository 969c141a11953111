"""The experiments of the paper: configurations, and what runs and records them."""
