"""What runs inside the two processes of a marking: the judge, and the kernel of a submission.

The judge has the checks, hidden ones too, and stands in for each function that a student was asked for. Calling the
stand-in makes the call in the student's kernel. Only numbers, texts, arrays and collections of them go over, as JSON:
nothing that runs, no object with an `__eq__` of its own, and of the checks no more than the arguments.
"""

import atexit
import base64
import builtins
import contextlib
import functools
import io
import itertools
import json
import linecache
import os
import sys
import sysconfig
import threading
import traceback
import tracemalloc
import types

MIME = "application/x-course-answer"
ROOM = 64_000_000  # characters of an answer
DISTRIBUTIONS = {  # of TFP, or of the course: they go over as their name and parameters
    "Bernoulli Beta Binomial Categorical Deterministic Dirichlet Gamma Independent Laplace LogNormal Mixture "
    "MixtureSameFamily MultivariateNormalDiag MultivariateNormalDiagPlusLowRank MultivariateNormalFullCovariance "
    "MultivariateNormalTriL Normal OneHotCategorical Poisson Sample StudentT Uniform": "tensorflow_probability.python."
    "distributions",
    "FastMultivariateNormalTriL": "helpers.distributions",
}


# ---- Values as text

NOTED = set()  # types of values that are no plain ones, and of which plain copies went over


def encode(value):
    """A value as what JSON can say: numbers, texts and None as they are, all else as {kind: content}."""
    numpy, tf = sys.modules.get("numpy"), sys.modules.get("tensorflow")
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind) and not (numpy and isinstance(value, numpy.generic)):
            NOTED.update({type(value).__name__} - {kind.__name__})
            return kind.__str__(value) if kind is str else kind(value)
    if isinstance(value, dict):
        return {"dict": [[encode(key), encode(item)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return {"tuple" if isinstance(value, tuple) else "list": [encode(item) for item in value]}
    if isinstance(value, (set, frozenset)):
        return {"set": [encode(item) for item in value]}
    if isinstance(value, (range, type({}.keys()), type({}.values()), type({}.items()))):
        return {"list": [encode(item) for item in value]}
    if hasattr(value, "__next__"):
        return {"iterator": [encode(item) for item in itertools.islice(value, 1_000_000)]}
    value = getattr(value, "tensor_distribution", value)  # out of the wrapper that TFP's layers put around
    if hasattr(value, "log_prob") and hasattr(value, "parameters"):
        names = [kind.__name__.lstrip("_") for kind in type(value).__mro__]
        known = [name for name in names if any(name in listed.split() for listed in DISTRIBUTIONS)]
        if known:
            given = {key: item for key, item in value.parameters.items() if item is not None and key != "name"}
            return {"distribution": [known[0], encode(given)]}
    if tf and tf.is_tensor(value):
        if not tf.executing_eagerly() or not hasattr(value, "numpy"):
            OUT.append(value)  # of a graph that is being made
            return {"out": len(OUT) - 1}
        return {"tensor": encode(value.numpy())}
    if numpy and (isinstance(value, numpy.generic) or hasattr(value, "__array__")):
        array = numpy.asarray(value)
        if type(value) is not numpy.ndarray and not isinstance(value, numpy.generic):
            NOTED.add(type(value).__name__)
        if array.dtype == object:
            return {"objects": [list(array.shape), [encode(item) for item in array.ravel()]]}
        if array.dtype.kind not in "biufcSU":
            raise TypeError(f"an array of {array.dtype} cannot be compared")
        data = base64.b64encode(array.tobytes()).decode()
        return {"scalar" if isinstance(value, numpy.generic) else "array": [array.dtype.str, list(array.shape), data]}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if tf and isinstance(value, tf.DType):
        return {"dtype": value.name}
    if tf and callable(value):
        return _model(value)
    NOTED.add(type(value).__name__)
    raise TypeError(f"expected arrays, numbers or collections of them, got a {type(value).__name__}")


def decode(value, depth=0):
    """The inverse of `encode`, for text that anybody may have written: what is not of its form is a ValueError."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if depth > 20 or type(value) is not dict or len(value) != 1:
        raise ValueError("an answer in a form that no function's result takes")
    (kind, content), again = next(iter(value.items())), depth + 1
    collections = {"list": list, "tuple": tuple, "set": set, "iterator": iter}
    if kind in collections and type(content) is list:
        return collections[kind]([decode(item, again) for item in content])
    if kind == "dict":
        return {decode(key, again): decode(item, again) for key, item in content}
    if kind == "complex":
        return complex(*map(float, content))
    if kind == "distribution":
        return _distribution(content[0], decode(content[1], again))
    if kind == "dtype":
        return sys.modules["tensorflow"].as_dtype(str(content))
    if kind == "out":
        return OUT[int(content)]
    if kind == "made":
        return _make(*content)
    if kind == "model":
        return Model(content)
    if kind == "tensor":
        import tensorflow

        return tensorflow.constant(decode(content, again))
    import numpy

    if kind == "objects":
        array = numpy.empty(len(content[1]), object)
        array[:] = [decode(item, again) for item in content[1]]
        return array.reshape([int(size) for size in content[0]])
    if kind in ("array", "scalar"):
        dtype = numpy.dtype(str(content[0]))
        if dtype.kind not in "biufcSU":
            raise ValueError(f"an array of {dtype} cannot be compared")
        array = numpy.frombuffer(base64.b64decode(content[2]), dtype).reshape([int(size) for size in content[1]]).copy()
        return array if kind == "array" else array[()]
    raise ValueError("an answer in a form that no function's result takes")


def _distribution(name, parameters):
    home = next((home for listed, home in DISTRIBUTIONS.items() if name in listed.split()), None)
    if home is None:
        raise ValueError(f"{name} is none of the distributions that can be sent")
    __import__(home)
    return getattr(sys.modules[home], name)(**parameters)


# ---- Models: what is called goes over as a graph for each shape of its input, and the values of its variables

OUT = []  # tensors of the graph that is being made, or that was read
MODELS, KNOWN, RECIPES = [], {}, {}
OPERATIONS = """
Abs Acos Acosh Add AddN AddV2 All Any ArgMax ArgMin Asin Asinh Assert Atan Atan2 Atanh AvgPool BatchMatMul
BatchMatMulV2 BatchMatMulV3 Betainc BiasAdd Bincount Bitcast BitwiseAnd BitwiseOr BitwiseXor BroadcastArgs
BroadcastGradientArgs BroadcastTo Cast Ceil Cholesky ClipByValue Concat ConcatV2 Const Conv1D Conv2D Cos Cosh
Cross Cumprod Cumsum CumulativeLogsumexp Diag Digamma DivNoNan Einsum Elu Empty EnsureShape Equal Erf Erfc
Erfinv Exp ExpandDims Expm1 Fill Floor FloorDiv FloorMod FusedBatchNormV3 Gather GatherNd GatherV2 Greater
GreaterEqual Identity IdentityN If Igamma Igammac InvertPermutation IsFinite IsInf IsNan L2Loss LeakyRelu
LeftShift Less LessEqual Lgamma LinSpace Log Log1p LogMatrixDeterminant LogSoftmax LogicalAnd LogicalNot
LogicalOr Lu MatMul MatrixBandPart MatrixDeterminant MatrixDiag MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3
MatrixDiagV2 MatrixDiagV3 MatrixInverse MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 MatrixSolve
MatrixSquareRoot MatrixTriangularSolve Max MaxPool Maximum Mean Min Minimum Mul MulNoNan Multinomial Ndtri Neg
NextAfter NoOp NotEqual OneHot OnesLike Pack Pad PadV2 PartitionedCall Placeholder PlaceholderWithDefault
Polygamma Pow PreventGradient Prod Qr RandomGamma RandomGammaGrad RandomPoissonV2 RandomShuffle
RandomStandardNormal RandomUniform RandomUniformInt Range Rank ReadVariableOp RealDiv Reciprocal Relu Relu6
Reshape ResourceGather Reverse ReverseV2 RightShift Rint Roll Round Rsqrt ScatterNd SegmentSum Select SelectV2
SelfAdjointEigV2 Selu Shape ShapeN Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SparseToDense
Split SplitV Sqrt Square SquaredDifference Squeeze StatefulPartitionedCall StatelessIf StatelessMultinomial
StatelessParameterizedTruncatedNormal StatelessRandomBinomial StatelessRandomGammaV2 StatelessRandomGammaV3
StatelessRandomGetAlg StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal
StatelessRandomNormalV2 StatelessRandomPoisson StatelessRandomUniform StatelessRandomUniformFullInt
StatelessRandomUniformFullIntV2 StatelessRandomUniformInt StatelessRandomUniformIntV2 StatelessRandomUniformV2
StatelessTruncatedNormal StatelessTruncatedNormalV2 StatelessWhile StopGradient StridedSlice Sub Sum Svd Tan
Tanh TensorScatterAdd TensorScatterSub TensorScatterUpdate Tile TopKV2 Transpose TruncateDiv TruncateMod
TruncatedNormal Unpack UnsortedSegmentMax UnsortedSegmentSum Where While Xdivy Xlog1py Xlogy ZerosLike Zeta
""".split()


def _model(value):
    """Of a model, or anything else that is called: its number here, and its variables."""
    if id(value) in RECIPES:  # one that the assignment's own code has made: the other side makes it, too
        name, arguments, kept = RECIPES[id(value)]
        KNOWN.update((f"{id(value)}-{i}", variable) for i, variable in enumerate(kept.variables))
        return {"made": [name, arguments, str(id(value)), [encode(v.numpy()) for v in kept.variables]]}
    MODELS.append(value)
    told, names = {"number": len(MODELS) - 1}, {id(variable): name for name, variable in KNOWN.items()}
    variables = {}
    for kind in ("variables", "trainable_variables"):
        if hasattr(value, kind):
            told[kind] = []
            for v in getattr(value, kind):
                key = variables.setdefault(id(v), len(variables))
                told[kind].append(key)
                told[str(key)] = names.get(id(v)) or v.numpy()
    return {"model": encode(told)}


def _make(name, arguments, number, values):
    from IPython import get_ipython

    args, kwargs = decode(arguments)
    model = get_ipython().user_ns[name](*args, **kwargs)
    for i, (variable, value) in enumerate(zip(model.variables, values, strict=True)):
        variable.assign(decode(value))
        KNOWN[f"{number}-{i}"] = variable
    return model


def graph_of(number, dtype, shape, variables):
    """In the student's kernel: what a model does with an input, as a graph that can be read elsewhere.

    Returns:
      the graph in base64; the name of its input; {name of a node: number of the variable that it reads};
      {name: value} of what else it needs; the form of the result; names of the tensors in it, those of losses behind.
    """
    import tensorflow as tf

    model, OUT[:] = MODELS[number], []
    told = {}

    def flat(x):
        told["form"] = encode(model(x))
        told["count"] = len(OUT)
        OUT.extend(tf.convert_to_tensor(loss() if callable(loss) else loss) for loss in getattr(model, "losses", ()))
        return [tf.identity(tensor) for tensor in OUT]

    function = tf.function(flat, autograph=False).get_concrete_function(tf.TensorSpec(shape, dtype))
    graph, mine, reads, values = function.graph, {}, {}, {}
    for kind in ("variables", "trainable_variables"):
        mine.update((id(v.handle), i) for i, v in zip(variables.get(kind, ()), getattr(model, kind, ()), strict=False))
    for outside, inside in graph.captures:
        if outside.dtype == tf.resource:
            for node in inside.consumers():
                if node.type == "ReadVariableOp" and id(outside) in mine:
                    reads[node.outputs[0].name] = mine[id(outside)]
                elif node.type == "ReadVariableOp":
                    variable = next(v for v in graph.variables if v.handle is outside)
                    values[node.outputs[0].name] = variable.numpy()
        else:
            values[inside.name] = outside.numpy()
    names = [tensor.name for tensor in function.structured_outputs]
    text = base64.b64encode(graph.as_graph_def().SerializeToString()).decode()
    inputs = [tensor.name for tensor in function.inputs[:1]]
    return text, inputs, reads, values, {"form": json.dumps(told["form"]), "count": told["count"]}, names


class Model:
    """In the judge: stands for a model of the student's, by its graphs and with variables of its own."""

    ask = None

    def __init__(self, content):
        import tensorflow as tf

        told = decode(content)
        self._number, self._graphs, self.losses, self._told = int(told["number"]), {}, [], told
        keys = {key for kind in ("variables", "trainable_variables") for key in told.get(kind, ())}
        self._all = {}
        for key in keys:
            value = told[str(key)]
            self._all[key] = KNOWN[value] if isinstance(value, str) else tf.Variable(value)
        for kind in ("variables", "trainable_variables"):
            if kind in told:
                setattr(self, kind, [self._all[key] for key in told[kind]])

    def __call__(self, x):
        import tensorflow as tf

        return tf.autograph.experimental.do_not_convert(self._call)(x)

    def _call(self, x):
        import tensorflow as tf

        x = tf.convert_to_tensor(x)
        key = x.dtype.name, tuple(x.shape)
        if key not in self._graphs:
            variables = {kind: self._told.get(kind, []) for kind in ("variables", "trainable_variables")}
            self._graphs[key] = self._read(x, *Submitted("<graph>", self.ask)(self._number, *key, variables))
        form, count, run = self._graphs[key]
        tensors = OUT[:] = run(x)
        self.losses = list(tensors[count:])
        return decode(form)

    def _read(self, x, text, inputs, reads, values, told, names):
        import tensorflow as tf

        graph = tf.compat.v1.GraphDef.FromString(base64.b64decode(text))
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        if odd := {node.op for node in nodes} - {*OPERATIONS}:
            raise ValueError(f"a model of operations that cannot be sent: {', '.join(sorted(odd))}")
        given = {name.split(":")[0] for name in (*inputs, *reads, *values)}
        kept = [node for node in graph.node if node.name not in given and node.op != "Placeholder"]
        for node in kept:
            node.attr.pop("_gradient_op_type", None)  # of the other process: the gradient of its parts is as good
            plain = [name for name in node.input if name[0] != "^"]
            del node.input[:]
            node.input.extend(plain)
        del graph.node[:]
        graph.node.extend(kept)
        used = {name.split(":")[0] for node in kept for name in node.input}

        @tf.function(autograph=False)
        def run(x):
            given = {name: self._all[key].read_value() for name, key in reads.items()}
            given |= {name: tf.constant(value) for name, value in values.items()} | {inputs[0]: x}
            given = {name: tensor for name, tensor in given.items() if name.split(":")[0] in used}
            return tf.graph_util.import_graph_def(graph, input_map=given, return_elements=names, name="")

        run.get_concrete_function(tf.TensorSpec(x.shape, x.dtype))
        return json.loads(told["form"]), int(told["count"]), run


def recorded(name, function):
    """A function of the assignment's own: the models that it makes can be sent, as the call that made them."""

    @functools.wraps(function)
    def made(*args, **kwargs):
        value = function(*args, **kwargs)
        if hasattr(value, "trainable_variables"):
            RECIPES[id(value)] = name, encode([args, kwargs]), value
        return value

    return made


# ---- The judge: a process that no code of a student's ever enters


class Submitted:
    """Stands for a function of the student's: a call is made in the student's kernel, its result comes back."""

    def __init__(self, name, ask):
        self.__name__, self._ask = name, ask

    def __call__(self, *args, **kwargs):
        reply = self._ask(
            {"call": self.__name__, "arguments": encode([args, kwargs]), "measure": tracemalloc.is_tracing()}
        )
        self.peak[0] = reply.get("peak", 0)
        if "error" in reply:
            name, text = reply["error"]
            kind = getattr(builtins, name, None)
            ours = isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, UnicodeError)
            raise (kind(text) if ours else RuntimeError(f"{name}: {text}"))
        try:
            return decode(reply["value"])
        except Exception as error:  # numpy and TensorFlow raise many kinds
            raise TypeError(f"what {self.__name__} returned cannot be read: {error}") from None

    peak = [0]  # bytes that the last call took, where they were measured


def judge():
    """Runs cells that come on standard input, a line each, in one namespace; says how each ended."""
    lines, talk = sys.stdin, os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what libraries print is no message
    main = sys.modules["__main__"] = types.ModuleType("__main__")  # a cell sees a notebook's namespace, none of this
    measure, space = tracemalloc.get_traced_memory, main.__dict__
    tracemalloc.get_traced_memory = lambda: (measure()[0], max(measure()[1], Submitted.peak[0]))

    def say(message):
        talk.write(json.dumps(message) + "\n")
        talk.flush()

    def ask(message):
        say(message)
        return json.loads(lines.readline())

    import numpy

    def of_something(usual):
        """An empty array broadcasts against nearly all, and all of nothing is true: it agrees with nothing here."""

        @functools.wraps(usual)
        def compare(a, b, *args, **kwargs):
            if (numpy.size(a) == 0) != (numpy.size(b) == 0):
                raise AssertionError(f"arrays of shapes {numpy.shape(a)} and {numpy.shape(b)} cannot be compared")
            return usual(a, b, *args, **kwargs)

        return compare

    numpy.allclose, numpy.isclose = of_something(numpy.allclose), of_something(numpy.isclose)
    Model.ask = staticmethod(ask)
    for line in lines:
        order, error, printed = json.loads(line), None, io.StringIO()
        source, name, known = order["run"], order["name"], {**space}
        space.update((function, Submitted(function, ask)) for function in order["functions"])
        linecache.cache[name] = len(source), None, source.splitlines(keepends=True), name  # tf.function reads it
        try:
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                exec(compile(source, name, "exec"), space)
            for key, value in space.items():
                if isinstance(value, types.FunctionType) and value is not known.get(key) and not order["functions"]:
                    space[key] = recorded(key, value)
        except BaseException as raised:
            steps = [step for step in traceback.extract_tb(raised.__traceback__) if step.filename != __file__]
            text = "".join(traceback.format_list(steps)) + f"{type(raised).__name__}: {str(raised)[:2000]}"
            error = [type(raised).__name__, str(raised)[:2000], text]
        say({"done": error, "printed": printed.getvalue()})


# ---- The student's kernel


def start(told):
    """Called once, before any code of the student's.

    Args:
      told: a file descriptor that reaches the one who marks; what was once written there cannot be taken back.
    """
    sys.modules["course_wire"] = types.ModuleType("course_wire")
    sys.modules["course_wire"].__dict__.update(answer=answer, look=Look(told).look)


def answer(name, arguments, measure=False):
    """Makes a call that the judge asks for, and publishes the result."""
    from IPython import get_ipython

    shell, reply = get_ipython(), {}
    NOTED.clear()
    try:
        functions = shell.user_ns | {"<graph>": graph_of}
        if name not in functions:
            raise NameError(f"name {name!r} is not defined")
        args, kwargs = decode(json.loads(arguments))
        if measure:
            tracemalloc.start()
        try:
            value = functions[name](*args, **kwargs)
            if measure:
                reply["peak"] = tracemalloc.get_traced_memory()[1]
        finally:
            if measure:
                tracemalloc.stop()
        try:
            reply["value"] = encode(value)
        except TypeError as error:
            raise TypeError(f"{name} returned what cannot be compared: {error}") from None
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise  # the time is up
        reply = {"error": [type(error).__name__, str(error)[:2000]]}
        if not isinstance(error, Exception) or isinstance(error, (MemoryError, RecursionError)):
            NOTED.add(type(error).__name__)
    reply["noted"] = sorted(NOTED)[:5]
    text = json.dumps(reply)
    if len(text) > ROOM:
        text = json.dumps({"error": ["MemoryError", f"{name} returned {len(text):,} characters"]})
    shell.display_pub.publish({MIME: text})


class Look:
    """Notices what honest work does not do. It warns, and no mark hangs on it: it shares a process with the student."""

    EVENTS = {
        "socket.connect": "a connection",
        "socket.bind": "a socket",
        "socket.sendto": "a connection",
        "socket.getaddrinfo": "a name on the network",
        "socket.gethostbyname": "a name on the network",
        "urllib.Request": "a page",
        "sqlite3.connect": "a database",
        "subprocess.Popen": "another program",
        "os.system": "another program",
        "os.exec": "another program",
        "os.posix_spawn": "another program",
        "os.spawn": "another program",
        "os.fork": "another process",
        "os.forkpty": "another process",
        "os.kill": "to kill a process",
        "os.killpg": "to kill a process",
        "sys.settrace": "to trace the checks",
        "sys.setprofile": "to trace the checks",
        "sys._getframe": "the frames of its caller",
        "sys._current_frames": "the frames of its caller",
        "gc.get_objects": "all objects of the process",
        "gc.get_referrers": "all objects of the process",
        "ctypes.dlopen": "machine code",
        "ctypes.dlsym": "machine code",
    }
    FILES = {"open", "os.listdir", "os.scandir", "os.remove", "os.rename", "os.mkdir", "os.symlink", "os.link"}
    LIBRARIES = "builtins sklearn.mixture tensorflow tensorflow_probability tf_keras tracemalloc sys os io json".split()

    def __init__(self, told):
        self.told, self.here = told, threading.local()
        paths = {sys.prefix, sys.base_prefix, os.path.realpath(sys.base_prefix), *sysconfig.get_paths().values()}
        system = "/usr", "/lib", "/bin", "/etc/", "/dev/", "/proc/", "/sys/devices"
        self.usual = (*paths, *system, os.getcwd(), "/tmp/ipykernel_")
        self.usual += tuple(path for path in sys.path if path and os.path.basename(path) != "")
        self.library = tuple(p for p in paths) + ("<frozen", "<__array_function__")
        self.seen, self.state = set(), None
        sys.addaudithook(self.hook)
        usual = atexit.register

        @functools.wraps(usual)
        def register(*args, **kwargs):
            if self.by_student(nearest=True):
                self.tell("tried to run something at the end")
            return usual(*args, **kwargs)

        atexit.register = register
        os.stat, os.lstat = self.asks(os.stat), self.asks(os.lstat)

    def tell(self, text):
        if text not in self.seen and len(self.seen) < 50:
            self.seen.add(text)
            with contextlib.suppress(OSError):
                os.write(self.told, (text.replace("\n", " ")[:200] + "\n").encode("utf-8", "replace"))

    def hook(self, event, args):
        if (event not in self.EVENTS and event not in self.FILES) or getattr(self.here, "busy", False):
            return
        self.here.busy = True
        try:
            if event in self.FILES:
                self.reached(args[0] if args else 0)
            elif self.by_student(nearest=event.startswith(("sys.", "gc."))):
                detail = f" ({args[0]})" if event in ("subprocess.Popen", "os.system", "sqlite3.connect") else ""
                self.tell(f"tried to reach {self.EVENTS[event]}{detail}")
        except Exception:  # a hook that raises would stop what was asked for
            pass
        finally:
            self.here.busy = False

    def reached(self, path):
        """Tells of a file outside of what the kernel works with."""
        if not isinstance(path, int):
            path = os.path.abspath(os.fsdecode(path))
            top = "/".join(path.split("/")[:3])  # in /tmp, which is its own, it may use what is there
            own = path == "/tmp" or path.startswith("/tmp/") and (path == top or os.path.isdir(top))
            if not path.startswith(self.usual) and not own and "/__autograph_generated_file" not in path:
                self.tell(f"tried to reach {path}")

    def asks(self, usual):
        """`os.stat`, which no audit event tells of, made to tell where a cell asks."""

        @functools.wraps(usual)
        def stat(path, *args, **kwargs):
            if not getattr(self.here, "busy", False):
                self.here.busy = True
                with contextlib.suppress(Exception):
                    if self.by_student(nearest=False):
                        self.reached(path)
                self.here.busy = False
            return usual(path, *args, **kwargs)

        return stat

    def by_student(self, nearest):
        """Whether the caller, or the nearest one outside Python's own library, is a cell."""
        frame = sys._getframe(2)
        while frame and not nearest and frame.f_code.co_filename.startswith(self.library):
            if "site-packages" in frame.f_code.co_filename:
                return False
            frame = frame.f_back
        return bool(frame) and ("/ipykernel_" in frame.f_code.co_filename or frame.f_code.co_filename == "<string>")

    @staticmethod
    def of_library(call):
        """Whether code belongs to what is installed: Matplotlib draws at the end of a cell, autoreload looks before."""
        code = getattr(getattr(call, "__func__", call), "__code__", None)
        return "site-packages" in getattr(code, "co_filename", "")

    def snapshot(self):
        """{name: identity} of what checks and kernel rely on."""
        from IPython import get_ipython

        shell, found = get_ipython(), {}
        arrays = [name for name in sys.modules if name.split(".")[0] in ("numpy", "scipy") and name.count(".") < 2]
        for name in (*self.LIBRARIES, *arrays):
            for key, value in list(getattr(sys.modules.get(name), "__dict__", {}).items()):
                if callable(value) and not key.startswith("__") or key in ("__import__", "__build_class__"):
                    found[f"{name}.{key}"] = id(getattr(value, "__func__", value))
        for key in ("run_cell", "run_cell_async", "run_code", "showtraceback", "_showtraceback", "transform_cell"):
            found[f"the shell's {key}"] = id(getattr(getattr(shell, key), "__func__", getattr(shell, key)))
        manager = shell.input_transformer_manager
        lists = {
            "input transformers": [
                *manager.cleanup_transforms,
                *manager.token_transformers,
                *manager.line_transforms,
                *shell.input_transformers_post,
            ],
            "AST transformers": shell.ast_transformers,
            "events": [
                call for calls in shell.events.callbacks.values() for call in calls if not self.of_library(call)
            ],
            "exception handlers": [*shell.custom_exceptions, getattr(shell.CustomTB, "__func__", shell.CustomTB)],
            "import machinery": [*sys.meta_path, *sys.path_hooks],
            "hooks": [sys.excepthook, sys.displayhook, sys.gettrace(), sys.getprofile(), threading.excepthook],
            "messages": [*getattr(shell, "kernel", shell).shell_handlers.values()] if hasattr(shell, "kernel") else [],
        }
        found |= {key: tuple(id(getattr(item, "__func__", item)) for item in items) for key, items in lists.items()}
        return found

    def look(self, compare=True, word=""):
        """Tells what has changed since the last look."""
        now = self.snapshot()
        if compare and self.state is not None:
            changed = [key for key, value in now.items() if key in self.state and self.state[key] != value]
            gone = [key for key in self.state if key not in now]
            for key in sorted([*changed, *gone])[:5]:
                self.tell(f"changed {key}")
        self.state = now
        if word:
            with contextlib.suppress(OSError):
                os.write(self.told, f"{word}\n".encode())


if __name__ == "__main__":
    judge()
