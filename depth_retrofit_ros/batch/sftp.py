"""fsspec's SFTP that talks to known hosts only, and notices when nobody answers. Needs fsspec and paramiko."""

from __future__ import annotations

import os

import paramiko
from fsspec.implementations.sftp import SFTPFileSystem

KNOWN_HOSTS = "DEPTH_RETROFIT_KNOWN_HOSTS"
CONNECT_S, SILENCE_S, KEEPALIVE_S = 20.0, 60.0, 15


class KnownHostSftp(SFTPFileSystem):
    """fsspec's own takes any host's key. Keys are those of ~/.ssh/known_hosts, and of the file that ``KNOWN_HOSTS`` names."""

    cachable = False  # one that broke must not come back

    def _connect(self) -> None:
        client = paramiko.SSHClient()
        client.load_system_host_keys()
        if file := os.environ.get(KNOWN_HOSTS):
            client.load_host_keys(file)
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        waits = {"timeout": CONNECT_S, "banner_timeout": CONNECT_S, "auth_timeout": CONNECT_S, "channel_timeout": CONNECT_S}
        client.connect(self.host, **{**waits, **self.ssh_kwargs})
        if (transport := client.get_transport()) is not None:
            transport.set_keepalive(KEEPALIVE_S)
        self.client, self.ftp = client, client.open_sftp()
        if (channel := self.ftp.get_channel()) is not None:
            channel.settimeout(SILENCE_S)
