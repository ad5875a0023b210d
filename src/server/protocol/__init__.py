"""The native protocol, version 1: events, requests, and a handler for each, which decodes, asks a service, shapes the answer."""
