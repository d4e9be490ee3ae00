#!/bin/sh
# sh run.sh OUT [arguments of gpu.py]: what `make gpu-pack` made, run where it lies; needs a python3 with torch, onnx and onnxruntime.
here=$(cd "$(dirname "$0")" && pwd)
out=$1
shift
export PYTHONPATH="$here/site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
exec "${PYTHON:-python3}" "$here/gpu.py" --out "$out" --nets "$here/nets" "$@"
