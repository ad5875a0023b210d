"""How much may be asked for, by whom, and what is refused. Stands on config and seams."""
