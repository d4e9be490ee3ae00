"""Weights in other files: read wherever a tensor stands, only from the model's folder, once, and as one coded message where they can't."""

from __future__ import annotations

import gzip
import os

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from absint.errors import InputError
from absint.frontends.onnx_external import read_external
from absint.frontends.onnx_file import model_hash, open_model
from absint.frontends.onnx_reader import OnnxFrontEnd

VALUES = np.array([1.5, -2.25, 3.0], dtype=np.float32)


def external(name="w", values=VALUES, **entries):
    """A tensor that says its values lie elsewhere; entries replace location, offset and length."""
    tensor = numpy_helper.from_array(values, name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in ({"location": "w.bin"} | entries).items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
    return tensor


def model_of(*tensors, nodes=None):
    graph = helper.make_graph(nodes or [helper.make_node("Add", ["x", "w"], ["y"])], "g",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def saved(tmp_path):
    """Write the model and its weights into net/."""
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "w.bin").write_bytes(bytes(8) + VALUES.tobytes())

    def write(model, name="net.onnx"):
        data = model.SerializeToString()
        (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return folder / name

    return write


def fails(path, code, *words):
    for call in (open_model, model_hash):
        with pytest.raises(InputError) as caught:
            call(path)
        assert caught.value.code == code, caught.value.render()
        assert all(word in caught.value.render() for word in words), caught.value.render()


@pytest.mark.parametrize("name", ["net.onnx", "net.onnx.gz"])
@pytest.mark.parametrize("entries", [{"offset": 8, "length": 12}, {"offset": 8}, {"offset": "08", "checksum": "00"}])
def test_weights_beside_the_model(saved, name, entries):
    graph = OnnxFrontEnd().read(saved(model_of(external(**entries)), name))
    assert graph(torch.zeros(1, 3, dtype=torch.float64)).flatten().tolist() == VALUES.tolist()


def test_a_link_inside_the_folder_and_a_subfolder(saved):
    path = saved(model_of(external(location="parts/w.bin", offset=8)))
    (path.parent / "parts").mkdir()
    (path.parent / "parts" / "w.bin").symlink_to(path.parent / "w.bin")
    assert open_model(path).constants["w"].tolist() == VALUES.tolist()


@pytest.mark.parametrize("location", ["../w.bin", "/etc/hostname", "", "a/../../w.bin", "a/../w.bin", "..\\w.bin", "w\0.bin", "{absolute}"])
def test_outside_the_folder(saved, tmp_path, location):
    (tmp_path / "w.bin").write_bytes(bytes(20))
    path = saved(model_of(external(location=location.format(absolute=tmp_path / "net" / "w.bin"))))
    fails(path, "E-MODEL-EXTERNAL", "outside its folder", "'w'", "hint:")


@pytest.mark.parametrize("target", ["file", "folder", "loop"])
def test_a_link_that_leaves_the_folder(saved, tmp_path, target):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "w.bin").write_bytes(bytes(20))
    path = saved(model_of(external(location="link/w.bin" if target == "folder" else "link")))
    aim = {"file": tmp_path / "other" / "w.bin", "folder": tmp_path / "other", "loop": path.parent / "link"}[target]
    (path.parent / "link").symlink_to(aim)
    with pytest.raises(InputError) as caught:
        open_model(path)
    assert caught.value.code in ("E-MODEL-EXTERNAL", "E-MODEL-MISSING" if target == "loop" else "")


def test_what_is_no_file(saved):
    path = saved(model_of(external(location="pipe")))
    os.mkfifo(path.parent / "pipe")
    fails(path, "E-MODEL-EXTERNAL", "'pipe' is no regular file")
    (path.parent / "pipe").unlink()
    (path.parent / "pipe").mkdir()
    fails(path, "E-MODEL-EXTERNAL", "'pipe' is no regular file")
    (path.parent / "pipe").rmdir()
    fails(path, "E-MODEL-MISSING", "'pipe' are not there", "hint:")


@pytest.mark.parametrize(("entries", "words"), [
    ({"offset": -1}, "its offset '-1' is no number of bytes"), ({"offset": "1_0"}, "is no number"), ({"offset": "x" * 100}, "is no number"),
    ({"offset": "٨"}, "is no number"), ({"offset": "9" * 30}, "is no number"), ({"offset": 9}, "'w.bin' has 20"),
    ({"offset": "9" * 18}, "'w.bin' has 20"), ({"length": -12}, "its length '-12'"), ({"length": 11}, "are not the 12"),
    ({"length": 13}, "are not the 12"), ({"length": 0}, "are not the 12"), ({"length": "9" * 30}, "is no number"),
])
def test_offsets_and_lengths_that_are_none(saved, entries, words):
    fails(saved(model_of(external(**entries))), "E-MODEL-EXTERNAL", "'w'", words, "hint:")


def test_a_shape_that_no_file_holds_is_refused_before_anything_is_read(saved):
    tensor = external()
    del tensor.dims[:]
    tensor.dims.extend([1 << 40, 1 << 40])
    fails(saved(model_of(tensor)), "E-MODEL-EXTERNAL", "'w.bin' has 20")
    tensor.dims[0] = -3
    fails(saved(model_of(tensor)), "E-MODEL-EXTERNAL", "negative")


@pytest.mark.parametrize("kind", [TensorProto.STRING, TensorProto.UNDEFINED, 999])
def test_types_without_raw_values(saved, kind):
    tensor = external()
    tensor.data_type = kind
    fails(saved(model_of(tensor)), "E-MODEL-EXTERNAL", "values of its type")


def test_two_places_of_one_tensor(saved):
    tensor = external()
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "other.bin"
    fails(saved(model_of(tensor)), "E-MODEL-EXTERNAL", "two values of 'location'")


def test_all_that_lies_outside_is_named_at_once(saved):
    fails(saved(model_of(external("w", location="../a"), external("v", location="/b"))), "E-MODEL-EXTERNAL", "'w'", "'v'")


def test_a_model_in_memory_has_no_folder(saved, monkeypatch):
    path = saved(model_of(external(offset=8)))
    monkeypatch.chdir(path.parent)
    with pytest.raises(InputError, match="in memory") as caught:
        open_model("net.onnx", path.read_bytes())
    assert caught.value.code == "E-MODEL-EXTERNAL"


def everywhere(**entries):
    """One external tensor in each place that the format has for one: name -> model."""
    def attribute(name, value):
        return helper.make_attribute(name, value)

    def node(*attributes):
        found = helper.make_node("Constant", [], ["w"])
        found.attribute.extend(attributes)
        return found

    def body():
        return helper.make_graph([helper.make_node("Identity", ["c"], ["d"])], "b", [], [], [external("deep", **entries)])

    def sparse():
        indices = numpy_helper.from_array(np.array([0, 1, 2]), "i")
        return helper.make_sparse_tensor(external("deep", **entries), indices, [3])

    add = helper.make_node("Add", ["x", "w"], ["y"])
    in_function = model_of(nodes=[helper.make_node("F", ["x"], ["y"], domain="f")])
    in_function.opset_import.append(helper.make_opsetid("f", 1))
    in_function.functions.append(helper.make_function("f", "F", ["a"], ["b"], [
        node(attribute("value", external("deep", **entries))), helper.make_node("Add", ["a", "w"], ["b"])],
        [helper.make_opsetid("", 17)]))
    in_default = model_of(VALUES_TENSOR)
    in_default.functions.append(helper.make_function(
        "f", "F", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], [helper.make_opsetid("", 17)],
        attribute_protos=[attribute("k", external("deep", **entries))]))
    in_sparse = model_of()
    in_sparse.graph.sparse_initializer.append(sparse())
    in_training = model_of(VALUES_TENSOR)
    in_training.training_info.add().initialization.CopyFrom(body())
    return {
        "initializer": model_of(external("deep", **entries), VALUES_TENSOR),
        "attribute": model_of(nodes=[node(attribute("value", external("deep", **entries))), add]),
        "list": model_of(VALUES_TENSOR, nodes=[node(attribute("values", [external("deep", **entries)])), add]),
        "subgraph": model_of(VALUES_TENSOR, nodes=[node(attribute("branch", body())), add]),
        "subgraphs": model_of(VALUES_TENSOR, nodes=[node(attribute("branches", [body(), body()])), add]),
        "sparse": in_sparse, "sparse attribute": model_of(nodes=[node(attribute("sparse_value", sparse())), add]),
        "function": in_function, "default": in_default, "training": in_training,
    }


VALUES_TENSOR = numpy_helper.from_array(VALUES, "w")


@pytest.mark.parametrize("place", list(everywhere()))
def test_no_tensor_is_forgotten(saved, place):
    path = saved(everywhere(location="../outside.bin")[place])
    fails(path, "E-MODEL-EXTERNAL", "'deep'")
    model = everywhere(offset=8)[place]
    parts = read_external(model, path)
    assert parts
    assert set(parts) == {VALUES.tobytes()}
    assert b"w.bin" not in model.SerializeToString()
    path = saved(everywhere(offset=8)[place])
    before = model_hash(path)
    (path.parent / "w.bin").write_bytes(bytes(20))
    assert model_hash(path) != before


def test_a_function_with_external_weights_is_analysed(saved):
    graph = OnnxFrontEnd().read(saved(everywhere(offset=8)["function"]))
    assert graph(torch.zeros(1, 3, dtype=torch.float64)).flatten().tolist() == VALUES.tolist()


def test_onnx_own_external_files_of_every_type_are_read(tmp_path):
    kinds = [np.float32, np.float64, np.float16, np.int64, np.int8, np.uint8, np.bool_]
    tensors = [numpy_helper.from_array(np.arange(6).reshape(2, 3).astype(kind), f"t{k}") for k, kind in enumerate(kinds)]
    tensors += [helper.make_tensor("half", TensorProto.BFLOAT16, [3], [1.0, 2.0, 3.0]),
                helper.make_tensor("four", TensorProto.INT4, [3], [1, 2, 3])]
    for tensor in tensors[-2:]:
        tensor.raw_data = numpy_helper.from_array(numpy_helper.to_array(tensor)).raw_data
        tensor.ClearField("int32_data")
    wanted = {t.name: numpy_helper.to_array(t).copy() for t in tensors}
    model = model_of(VALUES_TENSOR, *tensors)
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    read = onnx.load_model(tmp_path / "net.onnx", load_external_data=False)
    assert len(read_external(read, tmp_path / "net.onnx")) == 1 + len(wanted)
    for tensor in read.graph.initializer:
        if tensor.name in wanted:
            np.testing.assert_array_equal(numpy_helper.to_array(tensor), wanted[tensor.name])
