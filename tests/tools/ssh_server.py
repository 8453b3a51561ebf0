"""An SSH server that serves one folder by SFTP to one key: python ssh_server.py PORT FOLDER CLIENT_KEY.pub"""

from __future__ import annotations

import asyncio
import sys

import asyncssh


async def serve(port: int, folder: str, client_key: str) -> None:
    """Listen until the process is ended."""

    def sftp(channel: asyncssh.SSHServerChannel) -> asyncssh.SFTPServer:
        return asyncssh.SFTPServer(channel, chroot=folder.encode())

    server = await asyncssh.listen(
        "127.0.0.1",
        port,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        authorized_client_keys=asyncssh.read_authorized_keys(client_key),
        sftp_factory=sftp,
    )
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
