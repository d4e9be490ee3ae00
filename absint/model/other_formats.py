"""Files that are no model absint reads: what each kind of them is, and how a readable model is made of it."""

from __future__ import annotations

from pathlib import Path

_KERAS = "in Python: keras.saving.load_model('{name}').export('net.onnx', format='onnx'), then give net.onnx"
_GRAPH = ("python -m tf2onnx.convert --graphdef {name} --output net.onnx, then give net.onnx "
          "(--inputs and --outputs name its ends, such as x:0)")
_LITE = "python -m tf2onnx.convert --tflite {name} --output net.onnx, then give net.onnx"
_SAVED = "python -m tf2onnx.convert --saved-model {name} --output net.onnx, then give net.onnx"
_SKLEARN = "in Python, where it was made: skl2onnx.to_onnx(model, rows[:1].astype('float32')), saved as net.onnx, then give net.onnx"
_WEIGHTS = "build the network in Python, load these weights into it, then absint.load(module.eval(), example_input=x) or torch.onnx.export"
_DATA = "inputs go after the network: absint verify net.onnx --data {name}"

# suffix -> (what such a file is, how to go on); {name} is the file's name
_KINDS: dict[str, tuple[str, str]] = {
    **dict.fromkeys((".h5", ".hdf5", ".keras"), ("a Keras model", _KERAS)),
    ".pb": ("a TensorFlow graph", _GRAPH),
    ".tflite": ("a TensorFlow Lite model", _LITE),
    **dict.fromkeys((".mlmodel", ".mlpackage"), ("a Core ML model", "export the network that it was converted from to ONNX")),
    ".safetensors": ("a file of weights without a network", _WEIGHTS),
    ".mat": ("a MATLAB file",
             "in MATLAB: exportONNXNetwork(net, 'net.onnx'), then give net.onnx; data of inputs goes after the network: --data {name}"),
    **dict.fromkeys((".joblib", ".skops"), ("a saved scikit-learn model, which absint never loads: unpickling runs code", _SKLEARN)),
    **dict.fromkeys((".npz", ".npy", ".csv", ".idx"), ("a file of data, not a model", _DATA)),
    **dict.fromkeys((".vnnlib", ".vnnlib.gz"), ("a query, not a model", "absint verify {name} --network N=net.onnx")),
    ".py": ("a Python file, not a model",
            "in Python: absint.load(module.eval(), example_input=x), or torch.onnx.export it and give net.onnx"),
    **dict.fromkeys((".ort", ".engine", ".plan", ".trt"), ("a model compiled for one runtime", "give the .onnx file that it was made of")),
}


def kind_of_file(path: Path) -> tuple[str, str] | None:
    """What a file of this name is, by its suffix, and what to do; None for a suffix that nothing is known of."""
    name = path.name.lower()
    if (path / "saved_model.pb").is_file():
        return "a folder of TensorFlow", _SAVED.replace("{name}", path.name)
    suffix = max((one for one in _KINDS if name.endswith(one)), key=len, default=None)
    if suffix is None:
        return None
    what, hint = _KINDS[suffix]
    return what, hint.replace("{name}", path.name)
