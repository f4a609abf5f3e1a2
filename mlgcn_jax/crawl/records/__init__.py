"""What a crawl knows: works, pictures and searches, in one SQLite file."""
