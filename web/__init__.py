"""The web site: pages, media, events and the JSON API."""
