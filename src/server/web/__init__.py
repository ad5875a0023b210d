"""What is served over HTTP: the API for application servers, health and metrics, the demo page, the browser client. Stands on rooms."""
