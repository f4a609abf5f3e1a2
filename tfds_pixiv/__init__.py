"""The TFDS dataset `tfds_pixiv`: tagged illustrations of a crawl folder."""
