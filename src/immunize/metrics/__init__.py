"""Numbers about outcomes: recall, attack success, and how sure we may be of them; all in percent."""
