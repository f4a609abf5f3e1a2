"""Crawls Pixiv: lists works by tags and days, fetches pictures, makes a crawl folder.

mlgcn crawl list|fetch|status|export|purge FOLDER [...]

Read docs/crawling.md first: what is polite, what the site's terms say, and where the
credentials come from.
"""

VERBS = {
    "list": "ask for the works with some tags, without their pictures",
    "fetch": "fetch the pictures that are owed",
    "status": "say what is owed, done, failed and left out, and how long it takes",
    "export": "write metadata.jsonl, so that `mlgcn build FOLDER` works",
    "purge": "delete an author or a work, for good",
}
