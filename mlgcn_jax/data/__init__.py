"""Crawl folders, tags and pictures, and the datasets made of them."""
