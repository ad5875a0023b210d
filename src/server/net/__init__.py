"""Who is at the other end: addresses behind proxies, origins and hosts, credentials in a header. Stands on the core's errors."""
