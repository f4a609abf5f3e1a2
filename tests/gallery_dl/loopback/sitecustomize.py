"""Sends gallery-dl's requests for Pixiv and Danbooru to servers on this machine.

Python imports this by itself where the folder is on PYTHONPATH. LOOPBACK is JSON: host
-> address of the server that stands in for it. Any other host is refused.
"""

import json
import os
import urllib.parse

import requests

_SERVERS = json.loads(os.environ["LOOPBACK"])
_request = requests.Session.request


def request_on_loopback(session, method, url, *args, **kwargs):
    parts = urllib.parse.urlsplit(url)
    if parts.hostname != "127.0.0.1":
        url = _SERVERS[parts.hostname] + urllib.parse.urlunsplit(("", "", *parts[2:]))
    return _request(session, method, url, *args, **kwargs)


requests.Session.request = request_on_loopback
