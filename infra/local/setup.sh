#!/bin/sh
# Installs what is missing into target/venv. Quick when nothing is.
set -eu
cd "$(dirname "$0")/../.."
wanted=infra/local/requirements.txt
stamp=target/venv/.installed
if [ -f "$stamp" ] && cmp -s "$wanted" "$stamp"; then
    exit 0
fi
echo "setup: installing the local stack into target/venv (about a minute, once)"
mkdir -p target
python3 -m venv target/venv
target/venv/bin/pip install --quiet --disable-pip-version-check --requirement "$wanted"
cp "$wanted" "$stamp"
echo "setup: done"
