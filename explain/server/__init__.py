"""What serves the page and what every tab shares. None of it is a tab."""
