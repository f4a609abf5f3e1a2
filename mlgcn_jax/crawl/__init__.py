"""Works and pictures from Pixiv, politely and resumably, into a crawl folder."""
