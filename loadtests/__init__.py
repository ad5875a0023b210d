"""Load tests with locust: scenarios for named users. docs/load-testing.md shows how to run and read them."""
