"""One of other people's runtimes, to be timed beside ours.

    peer.py CONTENDER PRECISION THREADS     commands on stdin, one line of JSON each on stdout
    peer.py CONTENDER quantise              writes the contender's int8 model, and ends

In the current folder lie `model.onnx`, `frame` (f32, what is timed), `frames` (f32, one after the other, what calibrates)
and `target` (f32, what a training is to say). Commands:

    load        {}                       the model, ready to run
    logits      {}                       writes `CONTENDER.logits`, f32, of `frame` and an empty memory
    forward     {"seconds": s}           one frame
    train       {"seconds": s, "loss": l}    forward and backward of the mean square error
    train_step  {"seconds": s, "loss": l}    the same, and AdamW
    memory      {"mb": m}                most that the process ever held, less what it held before `load`

PRECISION is f32, int8, or train (f32 with gradients). Times are taken in here, around the runtime's own call.
"""

import json
import os
import sys
import time

import numpy


def held(what):
    """VmRSS or VmHWM, MB."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(what + ":"):
                return int(line.split()[1]) * 1024e-6
    raise RuntimeError("the system does not say " + what)


def graph():
    import onnx

    return onnx.load("model.onnx").graph


def shapes(values):
    return {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}


def numbers(name):
    return numpy.fromfile(name, "<f4")


def fed(inputs, frame):
    """What each input is given: a frame, and memories that are empty."""
    return {"input": frame.reshape(inputs["input"]), **{name: numpy.zeros(inputs[name], "f4") for name in ("h", "c")}}


def samples(inputs):
    return [fed(inputs, frame) for frame in numbers("frames").reshape([-1] + inputs["input"])]


class OpenVino:
    def __init__(self, precision, threads, frame):
        import openvino

        self.frame = frame
        self.core = openvino.Core()
        self.path = "model.onnx" if precision == "f32" else "openvino.int8.xml"
        self.settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_HYPER_THREADING": True,
            # Where a processor has bf16, OpenVINO would else answer in that.
            "INFERENCE_PRECISION_HINT": "f32",
        }

    def load(self):
        import openvino

        compiled = self.core.compile_model(self.path, "CPU", self.settings)
        inputs = {value.get_any_name(): list(value.shape) for value in compiled.inputs}
        self.feed = fed(inputs, self.frame)
        self.request = compiled.create_infer_request()
        for name, value in self.feed.items():
            self.request.set_tensor(name, openvino.Tensor(value, shared_memory=True))

    def forward(self):
        self.request.infer()

    def logits(self):
        self.request.infer()
        return self.request.get_tensor("logits").data

    @staticmethod
    def quantise():
        import nncf
        import openvino

        model = openvino.Core().read_model("model.onnx")
        inputs = {value.get_any_name(): list(value.shape) for value in model.inputs}
        shown = samples(inputs)
        quantised = nncf.quantize(model, nncf.Dataset(shown), subset_size=len(shown))
        openvino.save_model(quantised, "openvino.int8.xml", compress_to_fp16=False)


class OnnxRuntime:
    def __init__(self, precision, threads, frame):
        import onnxruntime

        self.runtime, self.frame = onnxruntime, frame
        self.path = "model.onnx" if precision == "f32" else "onnxruntime.int8.onnx"
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.options.inter_op_num_threads = 1

    def load(self):
        self.session = self.runtime.InferenceSession(self.path, self.options, providers=["CPUExecutionProvider"])
        self.feed = fed({value.name: value.shape for value in self.session.get_inputs()}, self.frame)

    def forward(self):
        return self.session.run(["logits", "h_next", "c_next"], self.feed)

    def logits(self):
        return self.forward()[0]

    @staticmethod
    def quantise():
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

        class Reader(CalibrationDataReader):
            def __init__(self):
                self.left = iter(samples(shapes(graph().input)))

            def get_next(self):
                return next(self.left, None)

        quantize_static(
            "model.onnx",
            "onnxruntime.int8.onnx",
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


class PyTorch:
    """The exported graph node by node, its initialisers as parameters."""

    def __init__(self, precision, threads, frame):
        if precision == "int8":
            raise RuntimeError("PyTorch has no int8 convolution in 3-D to hold against ours")
        import onnx
        import torch

        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)
        self.torch, self.onnx, self.training = torch, onnx, precision == "train"
        self.frame, self.target = frame, numbers("target") if self.training else None

    def load(self):
        torch, described = self.torch, graph()
        array = self.onnx.numpy_helper.to_array
        self.weights = {t.name: torch.nn.Parameter(torch.from_numpy(array(t).copy())) for t in described.initializer}
        self.nodes = []
        for node in described.node:
            attributes = {a.name: self.onnx.helper.get_attribute_value(a) for a in node.attribute}
            call = self.operation(node.op_type, attributes, len(node.output))
            self.nodes.append((call, list(node.input), list(node.output)))
        feed = fed(shapes(described.input), self.frame)
        self.feed = {name: torch.from_numpy(value) for name, value in feed.items()}
        if self.training:
            self.target = torch.from_numpy(self.target.reshape(shapes(described.output)["logits"]))
            self.adamw = torch.optim.AdamW(self.weights.values(), lr=1e-3)

    def operation(self, kind, attributes, parts):
        torch = self.torch
        if kind in ("Conv", "ConvTranspose"):
            stride, half = attributes["strides"], len(attributes["pads"]) // 2
            padding = attributes["pads"][:half]
            if padding != attributes["pads"][half:]:
                raise RuntimeError("padding that differs between both sides")
            call = torch.nn.functional.conv3d if kind == "Conv" else torch.nn.functional.conv_transpose3d
            return lambda x, w, b: call(x, w, b, stride=stride, padding=padding)
        if kind == "Concat":
            return lambda *each: torch.cat(each, attributes["axis"])
        if kind == "Split":
            return lambda x: torch.chunk(x, parts, attributes["axis"])
        plain = {"Relu": torch.relu, "Add": torch.add, "Mul": torch.mul, "Sigmoid": torch.sigmoid, "Tanh": torch.tanh}
        if kind not in plain:
            raise RuntimeError("an operator that this script does not know: " + kind)
        return plain[kind]

    def run(self):
        values = {**self.weights, **self.feed}
        for call, inputs, outputs in self.nodes:
            out = call(*(values[name] for name in inputs))
            values.update(zip(outputs, out if len(outputs) > 1 else (out,)))
        return values["logits"]

    def forward(self):
        if self.training:
            return self.run()
        with self.torch.inference_mode():
            return self.run()

    def logits(self):
        return self.forward().detach().numpy()

    def train(self):
        self.adamw.zero_grad(set_to_none=True)
        loss = (self.run() - self.target).square().mean()
        loss.backward()
        return loss.item()

    def train_step(self):
        loss = self.train()
        self.adamw.step()
        return loss


CONTENDERS = {"openvino": OpenVino, "onnxruntime": OnnxRuntime, "pytorch": PyTorch}


def timed(call):
    start = time.perf_counter()
    loss = call()
    answer = {"seconds": time.perf_counter() - start}
    return {**answer, "loss": loss} if isinstance(loss, float) else answer


def answers(name, contender, command, before):
    if command == "load":
        contender.load()
        return {}
    if command == "logits":
        numpy.ascontiguousarray(contender.logits(), "<f4").tofile(name + ".logits")
        return {}
    if command == "memory":
        return {"mb": held("VmHWM") - before}
    if command in ("forward", "train", "train_step"):
        return timed(getattr(contender, command))
    raise RuntimeError("an unknown command: " + command)


def main():
    name = sys.argv[1]
    if sys.argv[2] == "quantise":
        CONTENDERS[name].quantise()
        return
    # What libraries print must not come between the answers.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    contender, before = None, 0.0
    for line in sys.stdin:
        command = line.strip()
        try:
            if contender is None:
                contender = CONTENDERS[name](sys.argv[2], int(sys.argv[3]), numbers("frame"))
                before = held("VmRSS")
            answer = answers(name, contender, command, before)
        except Exception as why:
            answer = {"error": type(why).__name__ + ": " + " ".join(str(why).split())[:400]}
        out.write(json.dumps(answer) + "\n")
        out.flush()


main()
