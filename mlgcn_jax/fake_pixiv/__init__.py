"""A site on this machine that answers the crawler as Pixiv does, faults included."""
