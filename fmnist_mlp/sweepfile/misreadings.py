"""What people write for what is called otherwise here, and the line that they should have written.

A sweep file is pasted together from Keras, PyTorch and scikit-learn, and from memory. `read` says what is wrong with
it; this module finds the end of the message: the whole line written anew (`key_hint`, `layer_hint`, `value_hint`,
...), or the `nearest` word. What could be meant in two ways is never decided here, only named.

Nodes in, text out. Searching is bounded: a file of a megabyte in which every word is wrong is answered in a second.
"""

import ast
import re
from collections.abc import Sequence

from fmnist_mlp.sweepfile.layers import ACTIVATION_ALIASES, ACTIVATIONS, LAYERS
from fmnist_mlp.sweepfile.nearest import did_you_mean, letters_of, named_by_letters, nearest
from fmnist_mlp.sweepfile.nodes import Node, resolve
from fmnist_mlp.words import harmless, quoted

_MAX_REWRITTEN = 200  # characters of a line written anew; where it would be longer, an example has to do
# ---- layers -------------------------------------------------------------------------------------------------------

PASTED_OUTPUT = "the output layer is added for you: remove it"
_INPUT_ADDED = "the input is known from the images: remove it"
_TYPE_KEYS = ("class_name", "type", "layer", "kind", "class", "module", "name")
_ARGUMENT_KEYS = ("config", "args", "kwargs", "arguments", "params")
_ADDED = {
    **dict.fromkeys(["input", "inputlayer", "inputs", "inputshape"], _INPUT_ADDED),
    **dict.fromkeys(["softmax", "logsoftmax", "output", "outputlayer"], PASTED_OUTPUT),
    "rescaling": "pixels are scaled to 0-1 for you: remove it, or see preprocess",
    "normalization": "write preprocess: standardize in its place, a key beside layers",
}
_OUTPUT_ACTIVATIONS = ("softmax", "logsoftmax")


def pasted_output(layers: Sequence[Node]) -> tuple[int, str] | None:
    """Which of these layers can only be an output layer, and what to do; None where there is none.

    It is the last but for what leaves it an output, as Flatten and Dropout. Whether a Dense has as many units as there
    are classes is known with the data alone: `checks.check_shapes` asks.
    """
    position = len(layers) - 1
    while position >= 0 and (written := _Written.of(layers[position])) and written.kind in _STILL_AN_OUTPUT:
        position -= 1
    message = _pasted(layers[: position + 1])
    return None if message is None else (position, message)


_STILL_AN_OUTPUT = ("Flatten", "Reshape", "Dropout", "AlphaDropout", "GaussianNoise")


def _pasted(layers: Sequence[Node]) -> str | None:
    written = _Written.of(layers[-1]) if layers else None
    if written is None:
        return None
    activation = letters_of(written.arguments.get("activation", ""))
    is_activation = written.kind == "Activation" and activation in _OUTPUT_ACTIVATIONS
    if is_activation or letters_of(written.kind) in _OUTPUT_ACTIVATIONS:
        before = _Written.of(layers[-2]) if len(layers) > 1 else None
        units = before.arguments.get("units") if before and before.kind == "Dense" else None
        units = f", and the Dense of {units} units before it" if units else ", and the layer before it"
        return f"{PASTED_OUTPUT}{units} if that gives a value a class"
    is_binary = written.arguments.get("units") == "1" and activation == "sigmoid"
    return PASTED_OUTPUT if activation in _OUTPUT_ACTIVATIONS or is_binary else None


def layer_hint(node: Node) -> str:
    """The end of a message on a layer that cannot be read as it stands."""
    if isinstance(node.value, list):
        inner = in_flow(node)
        return f"; write its layers without the inner brackets: {inner[1:-1]}" if inner and len(inner) > 2 else ""
    name = node.value if isinstance(node.value, str) else ""
    times = re.fullmatch(r"\s*(\d{1,7})\s*[x*×]\s*(\d{1,3})\s*", name)
    if times:
        units, how_many = sorted(map(int, times.groups()), reverse=True)
        if how_many <= 10:
            return f"; for {how_many} Dense of {units} units write {', '.join([str(units)] * how_many)}"
    if isinstance(node.value, dict) and len(node.value) > 1 and all(key in LAYERS for key in node.value):
        each = [_Written.of(Node({key: entry}, entry.line)) for key, entry in node.value.items()]
        texts = [written and written.in_yaml() for written in each]
        return f"; write each as a layer of its own: {', '.join(texts)}" if all(texts) else ""
    written = _Written.of(node)
    if written is None:
        return ""
    if letters_of(written.kind) in _ADDED:
        if letters_of(written.kind) in _OUTPUT_ACTIVATIONS:
            return f"; {PASTED_OUTPUT}; for an activation between layers write {{Activation: softmax}}"
        return f"; {_ADDED[letters_of(written.kind)]}"
    is_one_name = isinstance(node.value, str) or (isinstance(node.value, dict) and len(node.value) == 1)
    if name.strip().isdecimal():
        return f"; for a Dense of {name.strip()[:20]} units write the number without quotes"
    if written.kind == "Activation" and is_one_name and written.arguments:
        return f"; for an activation write {written.in_yaml()}"
    is_spoken = _SPOKEN.fullmatch(name.strip()) or _UNITS_FIRST.fullmatch(name.strip())
    if is_one_name and not name.endswith(")") and not is_spoken and "units" not in node.value:
        return f"; did you mean '{written.kind}'?"
    text = written.in_yaml()
    return f"; write {text}" if text else ""


def unknown_layer_hint(node: Node) -> str:
    """The same of a layer whose name is not known; where nothing better is found, the nearest name or all of them."""
    name = node.value if isinstance(node.value, str) else next(iter(node.value))
    return layer_hint(node) or did_you_mean(name, LAYERS)


def argument_hint(layer: str, key: str, known: Sequence[str]) -> str:
    """What to do about an argument that a layer does not take here."""
    letters = letters_of(key)
    if letters in ("inputshape", "inputdim", "batchinputshape", "batchshape", "infeatures", "shape"):
        return f"; {_INPUT_ADDED}"
    if letters in ("name", "trainable", "dtype", "dataformat", "noiseshape", "autocast", "dilationrate", "groups"):
        return "; it is for Keras to decide here: remove it"
    if letters.endswith(("initializer", "constraint")):
        return "; it is Keras's default here: remove it"
    if letters.endswith("regularizer"):
        return "; remove it; weight_decay in training is what there is of the kind"
    if letters == "seed":
        return "; it is the seed of the trial: remove it"
    if letters in ("dropout", "dropoutrate") and "rate" not in known:
        return f"; dropout is a layer: write {{Dropout: 0.3}} after the {layer}"
    if letters in ("batchnorm", "batchnormalization", "bn"):
        return f"; write BatchNormalization after the {layer}"
    return did_you_mean(key, known) if known else "; it takes none"


_UNITS_FIRST = re.compile(r"(\d{1,7})[\s:,_-]+([A-Za-z_]+)")  # 64 relu, 64:relu
_SPOKEN = re.compile(r"([A-Za-z]+(?:2[dD])?)[\s:_-]*(\d{1,7}|0?\.\d{1,6})(?:[\s,:_-]+([A-Za-z_]+))?")


class _Written:
    """A layer as somebody wrote it, understood as far as that goes.

    Attributes:
        kind: the name of the layer here, or as it was written where there is none such here.
        arguments: by our names, as text; those that we do not have are left out.
    """

    def __init__(self, kind: str, arguments: dict[str, str]):
        self.kind, self.arguments = kind, arguments

    @classmethod
    def of(cls, node: Node) -> "_Written | None":
        value = node.value
        if type(value) is int:
            return cls("Dense", {"units": node.source or str(value)})
        if isinstance(value, str):
            return cls._of_text(value)
        if not isinstance(value, dict) or not value:
            return None
        entries = value
        if len(entries) == 1:
            ((name, inner),) = entries.items()
            if name == "units" and type(inner.value) is int:
                return cls("Dense", {"units": inner.source})
            return cls._of_parts(name, inner.value if isinstance(inner.value, dict) else inner)
        for key in _TYPE_KEYS:
            named = entries.get(key)
            if named is not None and isinstance(named.value, str) and _kind(named.value):
                others = {k: inner for k, inner in entries.items() if k != key}
                nested = next((others[k] for k in _ARGUMENT_KEYS if k in others), None)
                is_keras = key == "class_name"
                inner = nested.value if nested is not None and isinstance(nested.value, dict) else others
                written = cls._of_parts(named.value, inner)
                if is_keras and written and written.kind in ("Dense", "Conv2D"):  # Keras's own default
                    written.arguments.setdefault("activation", "linear")
                return written
        name = next((key for key in entries if _kind(key) in LAYERS and _kind(key) != "Activation"), None)
        if name is None:
            return cls._of_parts("Dense", entries) if "units" in entries else None
        written = cls._of_parts(name, entries[name].value if isinstance(entries[name].value, dict) else entries[name])
        others = cls._of_parts(name, {key: inner for key, inner in entries.items() if key != name})
        return written and cls(written.kind, others.arguments | written.arguments)

    @classmethod
    def _of_text(cls, text: str) -> "_Written | None":
        if text.strip().isdecimal():
            return cls("Dense", {"units": text.strip()})
        spoken = _SPOKEN.fullmatch(text.strip())  # Dense 64 relu, Dropout-0.2
        if spoken and (kind := _kind(spoken[1])) in LAYERS and LAYERS[kind].shorthand:
            number = float(spoken[2]) if "." in spoken[2] else int(spoken[2])
            nodes = {LAYERS[kind].shorthand: Node(number, 0, source=spoken[2])}
            nodes |= {"activation": Node(spoken[3], 0, source=spoken[3])} if spoken[3] else {}
            return cls._of_parts(kind, nodes)
        units_first = _UNITS_FIRST.fullmatch(text.strip())
        if units_first and (word := _kind(units_first[2])) in ACTIVATIONS:
            units = Node(int(units_first[1]), 0, source=units_first[1])
            return cls._of_parts("Dense", {"units": units, "activation": Node(word, 0, source=word)})
        called = re.match(r"[\w.]+\(", text)
        if not called or len(text) > _MAX_REWRITTEN:
            return cls._of_parts(text, {})
        try:
            call = ast.parse(text.strip(), mode="eval").body
            keywords = {each.arg: each.value.value for each in call.keywords if isinstance(each.value, ast.Constant)}
            given = [each.value for each in call.args if isinstance(each, ast.Constant)]
        except (SyntaxError, ValueError, AttributeError, MemoryError, RecursionError):
            return None
        kind = _kind(called[0][:-1])
        if kind is None:
            return None
        if called[0][:-1].rpartition(".")[2] == "Linear" and len(given) == 2:  # PyTorch's: inputs, outputs
            given = given[1:]
        fields = [*LAYERS[kind].model_fields] if kind in LAYERS else []
        named = dict(zip(fields, given, strict=False)) | keywords
        values = {key: value for key, value in named.items() if key and isinstance(value, str | int | float)}
        nodes = {key: Node(value, 0, source=_in_words(value)) for key, value in values.items()}
        return cls._of_parts(called[0][:-1], nodes)

    @classmethod
    def _of_parts(cls, name: str, arguments: "Node | dict") -> "_Written | None":
        kind = _kind(name)
        if kind is None:
            return None
        if kind not in LAYERS and kind in ACTIVATIONS:
            return cls("Activation", {"activation": kind})
        if kind not in LAYERS:
            return cls(kind, {})
        layer = LAYERS[kind]
        if isinstance(arguments, Node):
            is_given = arguments.value is not None and layer.shorthand
            arguments = {layer.shorthand: arguments} if is_given else {}
        kept = {}
        for key, inner in arguments.items():
            field, text = nearest(key, tuple(layer.model_fields)), in_flow(inner)
            if field is None or text is None or inner.value is None:
                continue
            if field == "activation":
                text = nearest(text, (*ACTIVATIONS, *ACTIVATION_ALIASES)) or text
            if inner.value != layer.model_fields[field].default:
                kept[field] = text
        return cls(kind, kept)

    def in_yaml(self) -> str | None:
        """As it is written in a sweep file; None where an argument that it needs is not there."""
        layer = LAYERS.get(self.kind)
        required = () if layer is None else [key for key, info in layer.model_fields.items() if info.is_required()]
        if layer is None or not self.arguments.keys() >= {*required}:
            return None
        if self.kind == "Dense" and set(self.arguments) == {"units"}:
            return self.arguments["units"]
        if not self.arguments:
            return self.kind
        if set(self.arguments) == {layer.shorthand}:
            return f"{{{self.kind}: {self.arguments[layer.shorthand]}}}"
        given = [key for key in layer.model_fields if key in self.arguments]
        inner = ", ".join(f"{key}: {self.arguments[key]}" for key in given)
        return f"{{{self.kind}: {{{inner}}}}}"


def _kind(name: str) -> str | None:
    """Our name of a layer or of an activation; of what is added for everybody, the name as it is written."""
    last = name.rpartition(".")[2] or name
    letters = letters_of(last)
    if letters in _ADDED:
        return last
    if last == "Linear":  # PyTorch's; linear is an activation
        return "Dense"
    names = tuple(LAYERS)
    by_letters = named_by_letters(names).get(letters)
    if by_letters:
        return by_letters
    activations = named_by_letters((*ACTIVATIONS, *ACTIVATION_ALIASES))
    return activations.get(letters) or nearest(last, names)


# ---- keys and values ----------------------------------------------------------------------------------------------

# What a sweep file does not say, by the reason; keys that people paste along from compile() and fit().
_NEEDLESS = {
    "the loss is cross-entropy for every stack": "loss lossfunction criterion lossfn fromlogits",
    "which figures are taken is the same for every stack (results/README.md)": "metrics scoring",
    "validation images are set aside from the training images, see validation_split": "validationdata valdata xval",
    "--quiet on the command line says less": "verbose progress",
    "images are shuffled in every epoch, by seed": "shuffle",
    "early_stopping and schedule are keys of their own, TensorBoard is always there": "callbacks",
    "an epoch is all training images": "stepsperepoch validationsteps initialepoch validationfreq validationbatchsize",
    "every image weighs the same": "classweight sampleweight",
    "the input is known from the images": "inputshape inputdim inputsize ninputs inputs input infeatures imageshape "
    "imagesize nfeatures",
    "the output layer, with its softmax, is added for you": "outputshape outputdim outputsize noutputs output outputs "
    "numclasses nclasses outputactivation finalactivation lastactivation outfeatures outputlayer",
    "initial weights are Keras's default, drawn by seed": "kernelinitializer initializer init biasinitializer",
    "how it is computed decides no figures (--help)": "jitcompile runeagerly usemultiprocessing stepsperexecution",
    "--jobs on the command line says how many train side by side": "njobs jobs workers numworkers",
    "--device on the command line says it": "device gpu gpus cuda",
    "--logs-dir on the command line says it": "logdir logsdir",
    "--results-dir on the command line says it": "resultsdir outputdir outdir savedir",
    "dataset: {idx: FOLDER} or {npz: FILE} says where your images lie, --data-dir where Fashion-MNIST does": "datadir "
    "datapath path",
    "test images are the data set's own": "testsize testsplit",
}
# Lists of layers go by these names elsewhere (scikit-learn, Stable-Baselines, papers), and their number by these.
_LAYER_LISTS = (
    "hiddenlayersizes netarch neurons layersizes hiddenunits hiddensizes hidden hiddendims hiddendim dims sizes units "
    "unitsperlayer nodes hiddennodes arch architecture structure stack topology mlp dense net network model numneurons "
    "nneurons widths width hiddenlayers hiddenlayersize layerwidths layerunits denseunits hiddenneurons"
)
_LAYER_COUNTS = "nlayers numlayers numberoflayers depth hiddenlayers numhiddenlayers nhiddenlayers nhidden"


def key_hint(key: str, node: Node, entries: dict[str, Node], place: str) -> str:
    """What to do about a key that is not known where it stands; nothing where only likeness can tell.

    Args:
        entries: the mapping that the key stands in.
        place: `top`, `training`, `architecture`, `grid` or `search`.
    """
    letters = letters_of(key)
    if place == "architecture" and "layers" not in entries:
        hint = _layers_hint(key, node, entries)
        if hint:
            return hint
    is_anchor = key.lower().startswith(("x-", "_", ".")) or letters in (
        "defaults",
        "default",
        "common",
        "shared",
        "base",
    )
    if place == "top" and is_anchor and isinstance(node.value, list | dict):
        return f"; write x-{letters.removeprefix('x')}, for keys of your own begin with x-"
    if letters in ("dropout", "dropoutrate") and place != "search":
        rate = in_flow(node) if isinstance(node.value, float) else "0.3"
        if place == "grid":
            return f"; dropout is a layer: write after_each: {{Dropout: {rate}}}"
        line = _with_layer_after_each(entries, f"{{Dropout: {rate}}}") if place == "architecture" else None
        return f"; dropout is a layer: write {line or f'{{Dropout: {rate}}} in layers, after the Dense that it is for'}"
    if letters in ("batchnorm", "batchnormalization", "bn", "usebatchnorm", "usebn"):
        line = _with_layer_after_each(entries, "BatchNormalization") if place == "architecture" else None
        after_each = "after_each: BatchNormalization" if place in ("grid", "search") else None
        where = after_each or line or "BatchNormalization in layers"
        return f"; it is a layer: write {where}"
    if letters in ("seed", "randomstate", "randomseed") and type(node.value) is int and place != "search":
        return f"; write seeds: [{node.source}]" + ("" if place == "top" else ", at the top of the file")
    if letters in ("standardize", "standardise", "normalize", "normalise") and node.value is True:
        return "; write preprocess: standardize (pixels are scaled to 0-1 anyway)"
    if letters == "pca" and isinstance(node.value, int | float):
        return f"; write preprocess: {{pca: {node.source}}}"
    reason = next((reason for reason, words in _NEEDLESS.items() if letters in words.split()), None)
    return f"; {reason}: remove it" if reason else ""


def _layers_hint(key: str, node: Node, entries: dict[str, Node]) -> str:
    """A list of layers that goes by another name, or by the name of the architecture."""
    letters = letters_of(key)
    if letters == "classname" and "config" in entries and isinstance(entries["config"].value, dict):
        listed = entries["config"].value.get("layers")
        texts = _rewritten(listed) if listed else None
        return f"; this is Keras's own form: write layers: {texts or '[64, {Dropout: 0.2}]'} without the output layer"
    if letters in _LAYER_COUNTS.split() and type(node.value) is int and 1 <= node.value <= 10:
        beside = {letters_of(other): inner for other, inner in entries.items() if other != key}
        units = next((inner for other, inner in beside.items() if other in _LAYER_LISTS.split()), None)
        each = units.source if units is not None and type(units.value) is int else "64"
        return f"; list the units of each layer: write layers: [{', '.join([each] * node.value)}]"
    if letters in _LAYER_LISTS.split():
        text = _rewritten(node)
        return f"; write layers: {text or '[64, 32]'}"
    if isinstance(node.value, list) and node.value and not nearest(key, ("layers", "preprocess", "augment")):
        name, text = re.sub(r"[^A-Za-z0-9._-]+", "-", key).strip("-._"), _rewritten(node)
        if text and name:
            others = "".join(f", {k}: {in_flow(inner) or '...'}" for k, inner in entries.items() if k != key)
            return f"; write - {{name: {name}, layers: {text}{others if len(others) < 80 else ', ...'}}}"
    if isinstance(node.value, dict) and len(entries) == 1 and "layers" in node.value:
        text = _rewritten(node.value["layers"])
        if text:
            return f"; write - {{name: {key}, layers: {text}{', ...' if len(node.value) > 1 else ''}}}"
    return ""


def layers_hint(node: Node) -> str:
    """What `layers: 64, 32` and the like should have been: `; write layers: [64, 32]`."""
    text = _rewritten(node)
    return f"; write layers: {text}" if text else ""


def architecture_hint(node: Node) -> str:
    """What an item of `architectures` should have been that is neither a list nor a mapping."""
    return f"; write - [{node.value}]" if type(node.value) is int else architectures_hint(node)


def quotes_hint(node: Node) -> str:
    """64 or 1e-3 as a name: YAML sees a number, the user sees a name."""
    return f"; write it in quotes: '{node.source}'" if node.source else ""


def architectures_hint(node: Node) -> str:
    """What `architectures: {small: [64]}` and `architectures: [64, 32]` should have been."""
    if isinstance(node.value, dict) and node.value:
        key, inner = next(iter(node.value.items()))
        hint = key_hint(key, inner, {key: inner}, "architecture")
        return hint.replace("; write layers", "; write - layers")
    if isinstance(node.value, str):  # one item of the list
        text = _rewritten(node)
        return f"; write - {text}" if text else ""
    if isinstance(node.value, list) and len(node.value) > 1 and all(type(item.value) is int for item in node.value):
        text = in_flow(node)
        return f"; write - {text} for one stack of these layers" if text else ""
    return ""


def _rewritten(node: Node) -> str | None:
    """A list of layers in our own words, without input and output; None where one of them is not understood."""
    if isinstance(node.value, str):
        numbers = re.findall(r"\d+", node.value)
        is_list = re.fullmatch(r"[\[({]?\s*\d+(\s*[,;xX/\- ]\s*\d+)*\s*,?\s*[\])}]?", node.value.strip())
        return f"[{', '.join(numbers)}]" if is_list and len(node.value) <= _MAX_REWRITTEN else None
    if type(node.value) is int:
        return f"[{node.source}]"
    items = node.value
    if isinstance(items, dict):
        items = [Node({key: entry}, entry.line) for key, entry in items.items()]
    if not isinstance(items, list) or len(items) > 50:
        return None
    if pasted := pasted_output(items):
        items = items[: pasted[0]]
    written = [_Written.of(item) for item in items]
    texts = [each and each.in_yaml() for each in written if not (each and letters_of(each.kind) in _ADDED)]
    text = f"[{', '.join(texts)}]" if all(texts) else None
    return text if text and len(text) <= _MAX_REWRITTEN else None


def _with_layer_after_each(entries: dict[str, Node], layer: str) -> str | None:
    """`layers: [128, {Dropout: 0.3}, 64, {Dropout: 0.3}]`; None unless the layers are numbers alone."""
    node = entries.get("layers", Node(None, 0))
    items = node.value if isinstance(node.value, list) else ()
    if not 0 < len(items) <= 6 or any(type(item.value) is not int for item in items):
        return None
    return f"layers: [{', '.join(f'{item.value}, {layer}' for item in node.value)}]"


def value_hint(key: str, node: Node, choices: Sequence[str], takes_number: bool) -> str:
    """What a value should have been: a number in quotes, 60k, a word in other letters, an object with arguments."""
    value = node.value
    if key == "dataset":
        inner = next((item.value for item in value.values()), None) if isinstance(value, dict) else value
        if isinstance(inner, str) and re.search(r"[/\\.~]", inner):
            kind = "npz" if inner.lower().endswith((".npz", ".npy")) else "idx"
            return f"; write dataset: {{{kind}: {harmless(inner)[:_MAX_REWRITTEN]}}}"
        if isinstance(value, str) and re.search("mnist|cifar|svhn", value.lower()) and not nearest(value, choices):
            return "; other data sets are read from their four IDX files: {idx: FOLDER}, or from arrays: {npz: FILE}"
    if key == "activation" and "relu" in choices:
        if isinstance(value, list):
            return "; each layer has one of its own: write {Dense: {units: 64, activation: relu}} in layers"
        if value == "None":
            return "; did you mean 'linear'?"
    if choices and isinstance(value, dict):
        name = next((inner.value for k, inner in value.items() if k in _TYPE_KEYS), None) or next(iter(value), "")
        near = nearest(str(name), choices)
        return f"; write {key}: {near}, and its arguments as keys of their own, as learning_rate: 1e-3" if near else ""
    if takes_number and isinstance(value, dict) and {"from", "to"} & {*value}:
        return "; a range is for a key right under 'search'"
    if not isinstance(value, str):
        return ""
    if choices:
        called = re.match(r"[\w.]+(?=\()", value)
        near = nearest(called[0] if called else value, choices)
        return f"; did you mean '{near}'?" if near else ""
    if takes_number:
        text = value.strip()
        if isinstance(resolve(text), int | float) and not isinstance(resolve(text), bool):
            return f"; write it without quotes: {key}: {harmless(text)[:30]}"
        short = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)\s*([kKmM%])", text)
        if short:
            number = float(short[1]) * {"k": 1e3, "m": 1e6, "%": 0.01}[short[2].lower()]
            return f"; write {key}: {number:.12g}"
        if re.fullmatch(r"0,\d{1,9}", text):  # a decimal comma
            return f"; write {key}: {text.replace(',', '.')}"
        if re.fullmatch(r"\d{1,3}(,\d{3})+", text):
            return f"; write {key}: {text.replace(',', '_')}"
    return ""


def in_flow(node: Node) -> str | None:
    """A value on one line, as a sweep file could have it; None where that would be long or is of no use."""
    text = _flow(node, _MAX_REWRITTEN)
    return text if text is not None and len(text) <= _MAX_REWRITTEN else None


def _flow(node: Node, most: int) -> str | None:
    if node.size > most:
        return None
    if isinstance(node.value, list | dict):
        inner = node.value if isinstance(node.value, list) else [*node.value.values()]
        parts = [_flow(item, most) for item in inner]
        if any(part is None for part in parts):
            return None
        if isinstance(node.value, list):
            return f"[{', '.join(parts)}]"
        return f"{{{', '.join(f'{harmless(key)[:60]}: {part}' for key, part in zip(node.value, parts, strict=True))}}}"
    if node.value is None:
        return "null"
    text = harmless(node.source or str(node.value))
    is_text = isinstance(node.value, str)
    has_marks = re.search(r"[,\[\]{}:#&*!|>'\"%@`]|^\s|\s$", text) or resolve(text) != text
    return quoted(text) if is_text and has_marks else text


def _in_words(value: str | int | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
