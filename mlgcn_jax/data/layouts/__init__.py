"""The kinds of folders that crawlers leave behind, one module each; see `folders`."""
