#!/bin/sh
# Installs what is missing into target/venv. Quick when nothing is.
set -eu
cd "$(dirname "$0")/../.."
wanted=infra/local/requirements.txt
stamp=target/venv/.installed
if ! command -v cc >/dev/null; then
    echo "setup: installing a C compiler, which the crypto library is built with"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev
fi
if [ -f "$stamp" ] && cmp -s "$wanted" "$stamp"; then
    exit 0
fi
echo "setup: installing the local stack into target/venv (about a minute, once)"
mkdir -p target
if ! python3 -c 'import ensurepip' 2>/dev/null; then
    echo "setup: installing python3-venv"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv
fi
python3 -m venv target/venv
target/venv/bin/pip install --quiet --disable-pip-version-check --requirement "$wanted"
cp "$wanted" "$stamp"
echo "setup: done"
