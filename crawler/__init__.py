"""Comity's top package: jobs, fetching, the Scrapy worker and the command line."""

__version__ = "0.1.0"
