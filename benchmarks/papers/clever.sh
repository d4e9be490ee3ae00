#!/bin/sh
# sh run.sh OUT [arguments of clever.py]: what `make clever-pack` made, run where it lies; needs a python3 with torch, onnx, onnxruntime, scipy
# and Pillow, onnxscript for the large module, and scikit-learn for ART. Networks that are trained there go to OUT/nets.
here=$(cd "$(dirname "$0")" && pwd)
out=$1
shift
mkdir -p "$out/nets"
cp -n "$here"/nets/* "$out/nets/" 2> /dev/null
# Foolbox imports GitPython, which otherwise insists on a git program.
export PYTHONPATH="$here/site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 GIT_PYTHON_REFRESH=quiet
exec "${PYTHON:-python3}" "$here/clever.py" --out "$out" --data "$here/data" --nets "$out/nets" "$@"
