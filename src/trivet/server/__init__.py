"""One ASGI application with the web pages and the API."""
