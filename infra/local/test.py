"""`make test`: everything that must hold, from formatting to the killed database; ends with one line. With `check`, only
what needs no service; with `story NAME`, the stories of that name, on a stack that stays up."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
PYTHON = sys.executable
STACK = [PYTHON, str(ROOT / "infra/local/stack.py")]
STATE = ROOT / "target/local/stack.json"
PASSED = re.compile(r"\b(\d+) passed")
FAILED = re.compile(r"\b(\d+) failed")


class Tally:
    def __init__(self):
        self.passed = self.failed = 0
        self.broken = []

    def run(self, title, command, **environment):
        """Shows what a step prints as it prints it, and counts the tests in it."""
        began = time.monotonic()
        print(f"\n== {title}", flush=True)
        child = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environment}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for line in child.stdout:
            print(line, end="", flush=True)
            if line.startswith("test result:") or re.match(r"=+ .*(passed|failed).* =+$|\d+ (passed|failed)", line):
                self.passed += sum(map(int, PASSED.findall(line)))
                self.failed += sum(map(int, FAILED.findall(line)))
        if child.wait() != 0:
            self.broken.append(title)
        print(f"== {title}: {'FAILED' if title in self.broken else 'ok'}, {time.monotonic() - began:.0f} s", flush=True)
        return title not in self.broken


def cargo_deny():
    """The checker itself, built once into target/tools."""
    tools = ROOT / "target" / "tools"
    program = tools / "bin" / "cargo-deny"
    if not program.exists():
        print("\n== installing cargo-deny into target/tools (some minutes, once)", flush=True)
        install = ["cargo", "install", "--quiet", "--locked", "--root", str(tools), "cargo-deny@0.20.2"]
        subprocess.run(install, check=True, cwd=ROOT, env={**os.environ, "CARGO_TARGET_DIR": str(ROOT / "target" / "tools-build")})
    return str(program)


def advisories(tally, deny):
    """Known vulnerabilities, where their database can be had; a machine without network still runs the rest."""
    if subprocess.run([deny, "fetch", "db"], cwd=ROOT, capture_output=True, check=False).returncode:
        print("\n== advisories: not checked, their database cannot be fetched", flush=True)
        return
    tally.run("advisories", [deny, "check", "--disable-fetch", "advisories"])


def pgbouncer():
    """The pooler that the stories put in front of Postgres: Debian's package, whose own service is not used."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
    if not shutil.which("pgbouncer", path=path):
        print("\n== installing pgbouncer", flush=True)
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "pgbouncer"], check=True)
    return shutil.which("pgbouncer", path=path)


def everything(tally):
    style(tally)
    deny = cargo_deny()
    tally.run("dependencies", [deny, "check", "bans", "licenses", "sources"])
    advisories(tally, deny)
    template(tally)
    if tally.run("build", ["cargo", "build", "--workspace", "--all-targets"]):
        try:
            if tally.run("local stack", [*STACK, "up"]):
                stories(tally, ["cargo", "test", "--workspace", "--quiet"])
        finally:
            subprocess.run([*STACK, "down"], check=False)
            subprocess.run([*STACK, "test-database-down"], check=False)


def check(tally):
    """What needs no service: the fast loop."""
    style(tally)
    template(tally)
    shared = sorted(manifest.parent.name for manifest in (ROOT / "shared").glob("*/Cargo.toml"))
    packages = [word for crate in [*shared, "migrations", "simulators"] for word in ("--package", crate)]
    tally.run("unit tests", ["cargo", "test", "--quiet", "--lib", *packages])


def story(tally, name):
    """The stories whose path contains `name`, by binaries that are fresh, on a stack that is started once and left."""
    if not tally.run("build", ["cargo", "build", "--workspace", "--bins"]):
        return
    if is_up() or tally.run("local stack", [*STACK, "up"]):
        stories(tally, ["cargo", "test", "--package", "stories", "--test", "stories", "--", name])


def style(tally):
    tally.run("format", ["cargo", "fmt", "--all", "--check"])
    tally.run("clippy", ["cargo", "clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])


def template(tally):
    tally.run("template", [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "infra/local/test_template.py"])


def is_up():
    try:
        address = json.loads(STATE.read_text())["aws"]
        urllib.request.urlopen(address, timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except (OSError, KeyError, ValueError):
        return False
    return True


def stories(tally, command):
    url = subprocess.run([*STACK, "test-database-up"], check=True, capture_output=True, text=True).stdout.strip()
    tally.run(
        "stories", command, TEST_DATABASE_URL=url, AWS_ENDPOINT_URL=json.loads(STATE.read_text())["aws"],
        AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_REGION="us-east-1", RUST_BACKTRACE="0",
        PGBOUNCER=pgbouncer(),
    )


def main():
    tally = Tally()
    match sys.argv[1:]:
        case []:
            everything(tally)
        case ["check"]:
            check(tally)
        case ["story", name]:
            story(tally, name)
        case _:
            sys.exit(__doc__)
    print(f"\nsteps that failed: {', '.join(tally.broken) or 'none'}")
    failed = max(tally.failed, len(tally.broken))
    print(f"{tally.passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
