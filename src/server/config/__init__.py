"""The configuration: one typed tree, read, checked, documented, reloaded. Stands on net."""
