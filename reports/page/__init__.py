"""The HTML page: its sections, plots, pictures and trials."""
