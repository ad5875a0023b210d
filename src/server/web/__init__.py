"""What is served over HTTP: the API, health and metrics, the demo page, the browser client. Stands on rooms and the protocol's names."""
