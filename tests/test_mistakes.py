# ruff: noqa: E501 (messages stand in the tables as a person reads them, in one line)
"""What a person reads who got a sweep file wrong: one message for one mistake, from a phrase to text and message."""

import pytest
from sweep_files import STACK, complain, load

from fmnist_mlp.errors import SweepError
from fmnist_mlp.sweepfile.checks import check_shapes
from fmnist_mlp.sweepfile.layers import ACTIVATION_ALIASES, ACTIVATIONS, LAYERS
from fmnist_mlp.sweepfile.sweep import Overrides

__all__ = ["complain", "load"]  # fixtures, used by name


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("{Dropout: 1.5}", "dropout rate must be at least 0 and below 1, got 1.5"),
        ("{Dropout: {rate: 1}}", "dropout rate must be at least 0 and below 1, got 1"),
        ("{Dropout: high}", "dropout rate must be a number at least 0 and below 1, got 'high'"),
        ("{Dropout: .nan}", "dropout rate must be a number at least 0 and below 1, got .nan"),
        ("{Dropout: .inf}", "dropout rate must be a number at least 0 and below 1, got .inf"),
        ("{Dropout: true}", "dropout rate must be a number at least 0 and below 1, got true"),
        ("{Dropout: [0.1, 0.2]}", "dropout rate must be a number at least 0 and below 1, got a list"),
        ("{Dropout: {rat: 0.3}}", "dropout has no argument 'rat'; did you mean 'rate'?"),
        ("Dropout", "dropout needs rate: write {Dropout: 0.3}"),
        ("{Dropout: }", "dropout needs rate: write {Dropout: 0.3}"),
        ("{Conv2D: {filters: 3}}", "Conv2D needs kernel_size: write {Conv2D: {filters: 16, kernel_size: 3}}"),
        ("{Conv2D: {filters: 3, kernel_size: [3, 3, 3]}}", "Conv2D kernel_size must be a whole number from 1 to 1,024 or a pair of them, got a list"),
        ("{Conv2D: 16}", "Conv2D takes its arguments by name (filters, kernel_size, strides, padding, activation, use_bias), as {Conv2D: {filters: 16, kernel_size: 3}}, got 16"),
        ("{BatchNormalization: {momentum: 2}}", "BatchNormalization momentum must be from 0 to 1, got 2"),
        ("{BatchNormalization: {center: 1}}", "BatchNormalization center must be true or false, got 1"),
        ("{Flatten: {axis: 1}}", "flatten has no argument 'axis'; it takes none"),
        ("{MaxPooling2D: {padding: sane}}", "MaxPooling2D padding must be valid or same, got 'sane'; did you mean 'same'?"),
        ("{Reshape: [-1, -1]}", "reshape target_shape may leave only one size open (-1)"),
        ("{Reshape: [0]}", "reshape target_shape must be a list of 1 to 6 whole numbers, such as [28, 28, 1], got a list"),
        ("{Activation: rellu}", "activation activation must be the name of an activation (linear is none), got 'rellu'; did you mean 'relu'?"),
        ("0", "dense units must be from 1 to 1,000,000, got 0"),
        ("-64", "dense units must be from 1 to 1,000,000, got -64"),
        ("1e3", "a layer is a whole number (units of a Dense), a layer's name, or one name with its arguments such as {Dropout: 0.3}, got 1e3"),
        ("true", "a layer is a whole number (units of a Dense), a layer's name, or one name with its arguments such as {Dropout: 0.3}, got true"),
        ("[64]", "a layer is a whole number (units of a Dense), a layer's name, or one name with its arguments such as {Dropout: 0.3}, got a list; write its layers without the inner brackets: 64"),
        ("~", "a layer is a whole number (units of a Dense), a layer's name, or one name with its arguments such as {Dropout: 0.3}, got ~"),
        ("'64'", "unknown layer '64'; for a Dense of 64 units write the number without quotes"),
        ("{Dense: '64'}", "dense units must be a whole number from 1 to 1,000,000, got '64'; write it without quotes: units: 64"),
        ("relu", "unknown layer 'relu'; for an activation write {Activation: relu}"),
        ("batchnorm", "unknown layer 'batchnorm'; did you mean 'BatchNormalization'?"),
        ("{dense: 3}", "unknown layer 'dense'; did you mean 'Dense'?"),
        ("{Lambda: x}", f"unknown layer 'Lambda'; known: {', '.join(LAYERS)}"),
        ("{Dense: 3, activation: relu}", "a layer is one name with its arguments in braces, such as {Dense: 64}, got 2 keys (Dense, activation); write {Dense: {units: 3, activation: relu}}"),
    ],
)  # fmt: skip
def test_one_mistake_in_a_layer_gets_one_message(complain, layer, message):
    own = f"    layers: [256, {layer}]"
    shown, echo = complain(f"architectures:\n  - name: wide\n{own}\n")
    assert shown == f"architectures.yaml:3: {message} (architecture 'wide')"
    assert echo == "    " + own.strip()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("epochs: 5", "unknown key 'epochs'; it stands under 'training'"),
        ("epoch: 5", "unknown key 'epoch'; did you mean 'epochs', under 'training'?"),
        ("sede: 5", "unknown key 'sede'; did you mean 'seeds'?"),
        ("zzz: 5", "unknown key 'zzz'; known: dataset, class_names, name, limit, seeds, margin, folds, select_by, refit, ensemble, max_params, tensorboard, training, architectures, grid, search, baselines"),
        ("seeds: until", "seeds must be a whole number from 1 to 10,000 (how many), a list of seeds such as [0, 1, 2], or until decided, got 'until'"),
        ("seeds: until decide", "seeds must be a whole number from 1 to 10,000 (how many), a list of seeds such as [0, 1, 2], or until decided, got 'until decide'; did you mean 'until decided'?"),
        ("seeds: {at_most: 5}", "seeds needs until"),
        ("seeds: {until: never}", "seeds until must be decided, got 'never'"),
        ("seeds: {until: decided, atmost: 9}", "seeds has no key 'atmost'; did you mean 'at_most'?"),
        ("seeds: {until: decided, at_most: 3}", "seeds at_most must be at least the first look (5 seeds); name others with looks: [2, 4], got 3"),
        ("seeds: {until: decided, looks: 5}", "seeds looks must be a rising list of numbers of seeds, such as [5, 10, 20, 40], got 5"),
        ("seeds: {until: decided, looks: [5, 5]}", "seeds looks must rise, but 5 follows 5"),
        ("seeds: {until: decided, looks: [1, 5]}", "seeds looks must be numbers of seeds from 2 to 10,000, got 1"),
        ("seeds: {until: decided, looks: [2, 5], at_most: 7}", "seeds at_most must be the last of looks (5), or be left out, got 7"),
        ("margin: 0", "margin must be above 0 and at most 1, got 0"),
        ("margin: 1.5", "margin must be above 0 and at most 1, got 1.5"),
        ("margin: '0.1'", "margin must be a number above 0 and at most 1, got '0.1'; write it without quotes: margin: 0.1"),
        ("seeds: 0", "seeds must be a whole number from 1 to 10,000 (how many), a list of seeds such as [0, 1, 2], or until decided, got 0"),
        ("seeds: true", "seeds must be a whole number from 1 to 10,000 (how many), a list of seeds such as [0, 1, 2], or until decided, got true"),
        ("seeds: []", "seeds must list at least one seed, got []"),
        ("seeds: [1, 2, 1]", "seeds must differ from each other, but 1 is listed twice"),
        ("seeds: [1, -2]", "seeds must be whole numbers from 0 to 2,147,483,647, got -2"),
        ("seeds: [2147483648]", "seeds must be whole numbers from 0 to 2,147,483,647, got 2147483648"),
        ("limit: 0", "limit must be from 1 to 1,000,000,000, got 0"),
        ("limit: many", "limit must be a whole number from 1 to 1,000,000,000, got 'many'"),
        ("dataset: mnist", "dataset must be auto, fashion_mnist, synthetic, {idx: FOLDER} or {npz: FILE}, got 'mnist'; other data sets are read from their four IDX files: {idx: FOLDER}, or from arrays: {npz: FILE}"),
        ("dataset: {idx: }", "dataset must be auto, fashion_mnist, synthetic, {idx: FOLDER} or {npz: FILE}, got a mapping (key: value)"),
        ("name: a/b", "name must be letters, digits, '.', '-' and '_', beginning with a letter or digit and not ending in '.', got 'a/b'"),
        ("name: 64", "name must be text, got 64; write it in quotes: '64'"),
        ("name: _records", "name must not begin with _, such names are our own; got '_records'"),
        ("class_names: [a, b, a]", "class_names must differ from each other, but 'a' names classes 0 and 2"),
        ("class_names: [Bag, bag]", "class_names must differ from each other, but 'bag' names classes 0 and 1"),
        ("class_names: [a, 7]", "class_names must be text, got 7; write it in quotes"),
        ("class_names: [a, no, true]", "class_names must be text, got true; write it in quotes"),
        ("class_names: [a, ]", "class_names must name each class, so at least two"),
        ("class_names: [a, ' ']", "class_names must not be empty, got ' '"),
        ('class_names: [a, "b\\e[2J"]', "class_names must be printable characters in one line, got 'b\\x1b[2J'"),
        ("class_names: T-shirt", "class_names must be a list of the names of the classes, in the order of the labels, such as [cat, dog], got 'T-shirt'"),
        ("class_names: {0: a, 1: b}", "class_names must be a list of the names of the classes, in the order of the labels, such as [cat, dog], got a mapping (key: value)"),
        ("labels: [a, b]", "unknown key 'labels'; did you mean 'class_names'?"),
        ("folds: 1", "folds must be from 2 to 50, got 1"),
        ("folds: 2.5", "folds must be a whole number from 2 to 50, got 2.5"),
        ("fold: 5", "unknown key 'fold'; did you mean 'folds'?"),
        ("cv: 5", "unknown key 'cv'; did you mean 'folds'?"),
        ("select_by: cv_accuracy", "select_by: cv_accuracy needs folds; add a line such as folds: 5, or select by val_accuracy"),
        ("select_by: test_accuracy", "select_by must be val_accuracy, val_loss or cv_accuracy, got 'test_accuracy'; did you mean 'cv_accuracy'?"),
        ("max_params: 0", "max_params must be at least 1, got 0"),
        ("max_params: 60k", "max_params must be a whole number at least 1, got '60k'; write max_params: 60000"),
        ("training: {learning_rate: '0,001'}", "learning_rate must be a number above 0 and at most 1,000, got '0,001'; write learning_rate: 0.001"),
        ("depth: 3", "unknown key 'depth'; it stands under 'grid'"),
        ("training: {max_params: 5}", "unknown key 'max_params' in training; it stands at the top of the file"),
        ("training: 5", "training must be a mapping such as {epochs: 20}, got 5"),
        ("training: {seeds: 5}", "unknown key 'seeds' in training; it stands at the top of the file"),
        ("training: {lr: 5}", "unknown key 'lr' in training; did you mean 'learning_rate'?"),
        ("training: {epochs: 1e3}", "epochs must be a whole number from 1 to 100,000, got 1e3"),
        ("training: {epochs: true}", "epochs must be a whole number from 1 to 100,000, got true"),
        ("training: {epochs: 0, warmup_epochs: 1}", "epochs must be from 1 to 100,000, got 0"),
        ("training: {learning_rate: 0}", "learning_rate must be above 0 and at most 1,000, got 0"),
        ("training: {learning_rate: 1e999}", "learning_rate must be a number above 0 and at most 1,000, got 1e999"),
        ("training: {learning_rate: {a: 1}}", "learning_rate must be a number above 0 and at most 1,000, got a mapping (key: value)"),
        ("training: {optimizer: adm}", "optimizer must be sgd, adam, adamw, rmsprop, nadam or lion, got 'adm'; did you mean 'adam'?"),
        ("training: {optimizer: [adam]}", "optimizer must be sgd, adam, adamw, rmsprop, nadam or lion, got a list"),
        ("training: {validation_split: 1}", "validation_split must be above 0 and below 1, got 1"),
        ("training: {early_stopping: 5}", "early_stopping must be a mapping such as {patience: 5}, got 5"),
        ("training: {early_stopping: {}}", "early_stopping needs patience"),
        ("training: {early_stopping: {patence: 1}}", "early_stopping has no key 'patence'; did you mean 'patience'?"),
        ("training: {early_stopping: {patience: -1}}", "early_stopping patience must be from 0 to 100,000, got -1"),
        ("training: {threads: 257}", "threads must be from 1 to 256, got 257"),
        ("training: {momentum: 0.9}", "momentum is for optimizer: sgd only, here it is adam; set it to 0"),
        ("training: {warmup_epochs: 20}", "warmup_epochs must be below epochs (20), got 20"),
        ("training: {schedule: one_cycle, warmup_epochs: 2}", "warmup_epochs does not go with schedule: one_cycle, which warms up by itself"),
        ("training: {preprocess: 5}", "preprocess steps are standardize, {center: 0.5, scale: 0.5}, {pca: 187} or {pca: 0.95}, got 5"),
        ("training: {preprocess: standardise}", "preprocess steps are standardize, {center: 0.5, scale: 0.5}, {pca: 187} or {pca: 0.95}, got 'standardise'; did you mean 'standardize'?"),
        ("training: {preprocess: {}}", "preprocess steps are standardize, {center: 0.5, scale: 0.5}, {pca: 187} or {pca: 0.95}, got a mapping"),
        ("training: {preprocess: [[standardize]]}", "preprocess steps are standardize, {center: 0.5, scale: 0.5}, {pca: 187} or {pca: 0.95}, got a list"),
        ("training: {preprocess: {standardize: true}}", "preprocess steps are standardize, {center: 0.5, scale: 0.5}, {pca: 187} or {pca: 0.95}, got {standardize: true}"),
        ("training: {preprocess: {pca: 3, wihten: true}}", "preprocess pca is written {pca: 187} or {pca: 0.95, whiten: true}, got {pca: 3, wihten: true}"),
        ("training: {preprocess: pca}", "preprocess pca is written {pca: 187} or {pca: 0.95, whiten: true}, got 'pca'"),
        ("training: {preprocess: {pca: 0}}", "preprocess pca must be a whole number of components, or the share of the variance that they keep, above 0 and below 1, got 0"),
        ("training: {preprocess: {pca: 1.0}}", "preprocess pca must be a whole number of components, or the share of the variance that they keep, above 0 and below 1, got 1.0"),
        ("training: {preprocess: {pca: true}}", "preprocess pca must be a whole number of components, or the share of the variance that they keep, above 0 and below 1, got true"),
        ("training: {preprocess: {pca: .nan}}", "preprocess pca must be a whole number of components, or the share of the variance that they keep, above 0 and below 1, got .nan"),
        ("training: {preprocess: {pca: }}", "preprocess pca must be a whole number of components, or the share of the variance that they keep, above 0 and below 1, got nothing"),
        ("training: {preprocess: {pca: 9, whiten: 1}}", "preprocess whiten must be true or false, got 1"),
        ("training: {preprocess: {scale: 0}}", "preprocess scale must be a number from 0.000001 to 1,000, got 0"),
        ("training: {preprocess: {center: .inf}}", "preprocess center must be a number from -1,000 to 1,000, got .inf"),
        ("training: {preprocess: {center: half}}", "preprocess center must be a number from -1,000 to 1,000, got 'half'"),
        ("training: {preprocess: [{pca: 9}, {pca: 3}]}", "preprocess may have pca once: a second one would only drop components of the first"),
        (f"training: {{preprocess: [{', '.join(['standardize'] * 11)}]}}", "preprocess may have at most 10 steps, got 11"),
        ("training: {augment: true}", "augment must be a mapping such as {horizontal_flip: true}, got true"),
        ("training: {augment: {flip: true}}", "augment has no key 'flip'; known: horizontal_flip, vertical_flip, shift, erase, mixup"),
        ("training: {augment: {shift: -1}}", "augment shift must be from 0 to 1,000, got -1"),
        ("training: {augment: {shift: 1.5}}", "augment shift must be a whole number from 0 to 1,000, got 1.5"),
        ("training: {augment: {vertical_flip: 1}}", "augment vertical_flip must be true or false, got 1"),
        ("training: {augment: {erase: 10}}", "augment erase must be from 0 to 1, got 10"),
        ("training: {augment: {mixup: alpha}}", "augment mixup must be a number from 0 to 100, got 'alpha'"),
        ("training: {optimizer: SGD}", "optimizer must be sgd, adam, adamw, rmsprop, nadam or lion, got 'SGD'; did you mean 'sgd'?"),
        ("training: {optimizer: Adam}", "optimizer must be sgd, adam, adamw, rmsprop, nadam or lion, got 'Adam'; did you mean 'adam'?"),
        ("training: {optimizer: keras.optimizers.AdamW}", "optimizer must be sgd, adam, adamw, rmsprop, nadam or lion, got 'keras.optimizers.AdamW'; did you mean 'adamw'?"),
        ("training: {optimizer: Adam(1e-3)}", "optimizer must be sgd, adam, adamw, rmsprop, nadam or lion, got 'Adam(1e-3)'; did you mean 'adam'?"),
        ("training: {optimizer: {name: Adam, learning_rate: 1e-3}}", "optimizer must be sgd, adam, adamw, rmsprop, nadam or lion, got a mapping (key: value); write optimizer: adam, and its arguments as keys of their own, as learning_rate: 1e-3"),
        ("training: {optimizer: {adam: {lr: 1e-3}}}", "optimizer must be sgd, adam, adamw, rmsprop, nadam or lion, got a mapping (key: value); write optimizer: adam, and its arguments as keys of their own, as learning_rate: 1e-3"),
        ("training: {activation: ReLU}", "activation must be the name of an activation (linear is none), got 'ReLU'; did you mean 'relu'?"),
        ("training: {activation: LeakyReLU}", "activation must be the name of an activation (linear is none), got 'LeakyReLU'; did you mean 'leaky_relu'?"),
        ("training: {learning_rate: '1e-3'}", "learning_rate must be a number above 0 and at most 1,000, got '1e-3'; write it without quotes: learning_rate: 1e-3"),
        ("training: {epochs: '20'}", "epochs must be a whole number from 1 to 100,000, got '20'; write it without quotes: epochs: 20"),
        ("training: {validation_split: 20%}", "validation_split must be a number above 0 and below 1, got '20%'; write validation_split: 0.2"),
        ("limit: 10k", "limit must be a whole number from 1 to 1,000,000,000, got '10k'; write limit: 10000"),
        ("limit: '10,000'", "limit must be a whole number from 1 to 1,000,000,000, got '10,000'; write limit: 10_000"),
        ("training: {epoch: 5}", "unknown key 'epoch' in training; did you mean 'epochs'?"),
        ("training: {batch: 5}", "unknown key 'batch' in training; did you mean 'batch_size'?"),
        ("training: {batchSize: 5}", "unknown key 'batchSize' in training; did you mean 'batch_size'?"),
        ("training: {learning-rate: 5}", "unknown key 'learning-rate' in training; did you mean 'learning_rate'?"),
        ("training: {solver: sgd}", "unknown key 'solver' in training; did you mean 'optimizer'?"),
        ("training: {dropout: 0.3}", "unknown key 'dropout' in training; dropout is a layer: write {Dropout: 0.3} in layers, after the Dense that it is for"),
        ("training: {loss: mse}", "unknown key 'loss' in training; the loss is cross-entropy for every stack: remove it"),
        ("training: {metrics: [accuracy]}", "unknown key 'metrics' in training; which figures are taken is the same for every stack (results/README.md): remove it"),
        ("training: {validation_data: x}", "unknown key 'validation_data' in training; validation images are set aside from the training images, see validation_split: remove it"),
        ("training: {verbose: 2}", "unknown key 'verbose' in training; --quiet on the command line says less: remove it"),
        ("training: {shuffle: true}", "unknown key 'shuffle' in training; images are shuffled in every epoch, by seed: remove it"),
        ("training: {pca: 50}", "unknown key 'pca' in training; write preprocess: {pca: 50}"),
        ("training: {normalize: true}", "unknown key 'normalize' in training; write preprocess: standardize (pixels are scaled to 0-1 anyway)"),
        ("seed: 42", "unknown key 'seed'; write seeds: [42]"),
        ("models: [[64]]", "unknown key 'models'; did you mean 'architectures'?"),
        ("dataset: /data/mine", "dataset must be auto, fashion_mnist, synthetic, {idx: FOLDER} or {npz: FILE}, got '/data/mine'; write dataset: {idx: /data/mine}"),
        ("dataset: data/mine.npz", "dataset must be auto, fashion_mnist, synthetic, {idx: FOLDER} or {npz: FILE}, got 'data/mine.npz'; write dataset: {npz: data/mine.npz}"),
        ("dataset: {npz: [a]}", "dataset must be auto, fashion_mnist, synthetic, {idx: FOLDER} or {npz: FILE}, got a mapping (key: value)"),
        ('dataset: {npz: "a\\tb"}', "dataset {npz: FILE} must be a path of printable characters, got 'a\\tb'"),
        ("dataset: {path: ../mine}", "dataset must be auto, fashion_mnist, synthetic, {idx: FOLDER} or {npz: FILE}, got a mapping (key: value); write dataset: {idx: ../mine}"),
        ("dataset: KMNIST", "dataset must be auto, fashion_mnist, synthetic, {idx: FOLDER} or {npz: FILE}, got 'KMNIST'; other data sets are read from their four IDX files: {idx: FOLDER}, or from arrays: {npz: FILE}"),
        ("_defaults: {epochs: 3}", "unknown key '_defaults'; write x-defaults, for keys of your own begin with x-"),
        ("defaults: {epochs: 3}", "unknown key 'defaults'; write x-defaults, for keys of your own begin with x-"),
        ("training: {activation: [relu, tanh]}", "activation must be the name of an activation (linear is none), got a list; each layer has one of its own: write {Dense: {units: 64, activation: relu}} in layers"),
        ("training: {activation: None}", "activation must be the name of an activation (linear is none), got 'None'; did you mean 'linear'?"),
        ("n_jobs: 4", "unknown key 'n_jobs'; --jobs on the command line says how many train side by side: remove it"),
    ],
)  # fmt: skip
def test_one_mistake_in_a_setting_gets_one_message(complain, line, message):
    """Two architectures: what both inherit is said once."""
    shown, echo = complain(f"{line}\n{STACK}  - [8]\n")
    assert shown == f"architectures.yaml:1: {message}"
    assert f"    {line}".startswith(echo.removesuffix("…"))  # a long line is cut


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("64", "an architecture is a list of layers, such as [64, 32], or a mapping with layers, got 64; write - [64]"),
        ("Flatten", "an architecture is a list of layers, such as [64, 32], or a mapping with layers, got 'Flatten'"),
        ("Dense: 64", "an architecture is a list of layers; write - [{Dense: ...}], in brackets"),
        ("{layer: [64]}", "unknown key 'layer'; did you mean 'layers'? (architecture number 1)"),
        ("{name: x}", "layers is missing, a list such as layers: [64, 32] (architecture 'x')"),
        ("{layers: 64}", "layers must be a list, such as [64, 32], got 64; write layers: [64] (architecture number 1)"),
        ("{layers: [8], epochs: 0}", "epochs must be from 1 to 100,000, got 0 (architecture '8')"),
        ("{layers: [8], seeds: 3}", "unknown key 'seeds'; it stands at the top of the file (architecture '8')"),
        ("{layers: [8], name: 1e-3}", "name must be text, got 1e-3; write it in quotes: '1e-3'"),
        ("{layers: [8], name: a b}", "name must be letters, digits, '.', '-' and '_', beginning with a letter or digit and not ending in '.', got 'a b'"),
        ("{layers: [8], name: NUL.txt}", "name must not be 'NUL.txt', which Windows keeps for a device"),
        ("{layers: [8], activation: }", f"activation must be the name of an activation (linear is none), got nothing; known: {', '.join([*ACTIVATIONS, *ACTIVATION_ALIASES])} (architecture '8')"),
        ("{layers: [8], momentum: 0.9}", "momentum is for optimizer: sgd only, here it is adam; set it to 0 (architecture '8')"),
        ("{layers: [8], max_params: 0}", "max_params must be at least 1, got 0 (architecture '8')"),
        ("{layers: [8], folds: 5}", "unknown key 'folds'; it stands at the top of the file (architecture '8')"),
        (f"[{'8,' * 201}]", "at most 200 layers are allowed, got 201 (architecture number 1)"),
    ],
)  # fmt: skip
def test_one_mistake_in_an_architecture_gets_one_message(complain, item, message):
    shown, _ = complain(f"architectures:\n  - {item}\n")
    assert shown == f"architectures.yaml:2: {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "architectures.yaml: the file is empty; it needs at least 'architectures:'", id="empty"),
        pytest.param("# only\n", "architectures.yaml: the file is empty", id="comments only"),
        pytest.param("- [64]\n", "architectures.yaml:1: a sweep file is a mapping", id="a list"),
        pytest.param("just text", "architectures.yaml:1: a sweep file is a mapping", id="text"),
        pytest.param("seeds: 5\n", "architectures.yaml: 'architectures:' is missing", id="no architectures"),
        pytest.param("archtectures:\n- [64]\n", "architectures.yaml:1: unknown key 'archtectures'; did you mean 'archit", id="misspelt"),
        pytest.param("architectures:\n", "architectures.yaml:1: architectures must be a list of layer stacks", id="empty list"),
        pytest.param("seeds: 5\nlimit: 3\nseeds: 6\n" + STACK, "architectures.yaml:3: the key 'seeds' is given in line 1 and in line 3; keep one", id="key given twice"),
    ],
)  # fmt: skip
def test_a_file_without_stacks_says_what_is_missing(complain, text, message):
    lines = complain(text)
    assert lines[0].startswith(message)
    assert len(lines) <= 2
    assert sum(map(len, lines)) < 500


def test_all_problems_are_reported_at_once_in_the_order_of_lines(complain):
    text = "seeds: 0\nseeds: 1\ntraining: {epochs: 0}\nlimitt: 3\narchitectures:\n- [64, Dropout]\n- {layers: [0], epochs: x}\n"
    lines = complain(text)
    assert [line.split(":")[1] for line in lines[::2]] == ["1", "2", "3", "4", "6", "7", "7"]
    assert lines[1::2] == ["    " + text.split("\n")[int(line.split(":")[1]) - 1] for line in lines[::2]]


def test_very_many_problems_are_cut_short(complain):
    lines = complain("architectures:\n" + "- [0]\n" * 100)
    assert len(lines) == 41
    assert lines[-1] == "architectures.yaml: and 80 more problems"


def test_a_rule_between_keys_names_the_line_to_change(complain):
    text = "training: {optimizer: sgd, momentum: 0.9}\narchitectures:\n- [8]\n- {layers: [8], optimizer: adam}\n"
    message = "momentum is for optimizer: sgd only, here it is adam; set it to 0 (architecture '8')"
    assert complain(text)[0] == f"architectures.yaml:4: {message}"
    lines = complain("training: {warmup_epochs: 3}\n" + STACK + "- [8]\n".replace("-", "  -"), Overrides(epochs=2))
    assert lines[0] == "architectures.yaml:1: warmup_epochs must be below epochs (2), got 3, with --epochs"
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("architectures:\n- [64, 32]\n- [8]\n- {name: again, layers: [64, {Dense: 32}], epochs: 20}\n", "architectures.yaml:4: architecture 'again' would be the same trials as '64-32' in line 2; remove line 2 or line 4, or change one"),
        ("architectures:\n- {name: a, layers: [8]}\n- {name: A, layers: [9]}\n", "architectures.yaml:3: two architectures are named 'A', in line 2 (as 'a': upper and lower case do not count) and in line 3; give one of them another name:"),
        ("architectures:\n- {name: a, layers: [8]}\n- {name: a, layers: [9]}\n", "architectures.yaml:3: two architectures are named 'a', in line 2 and in line 3; give one of them another name:"),
        ("architectures:\n- {layers: [8], name: '64'}\n- [64]\n", "architectures.yaml:3: two architectures are named '64', in line 2 and in line 3; give one of them another name:"),
    ],
)  # fmt: skip
def test_architectures_that_are_the_same_are_reported_with_both_lines(complain, text, message):
    assert complain(text)[0] == message
    assert len(complain(text)) == 2


def test_a_file_name_that_cannot_name_a_sweep_offers_one_that_can(load, complain):
    lines = complain(STACK, name="my sweep (1).yaml")
    assert len(lines) == 1
    assert lines[0].startswith("my sweep (1).yaml: the file's name cannot name the sweep")
    assert lines[0].endswith("rename the file or add a line such as name: my-sweep-1")
    assert load("name: fine\n" + STACK, name="my sweep (1).yaml").name == "fine"


def test_messages_cannot_move_the_cursor_and_stay_short(complain):
    lines = complain('a\x85b: 1\n"\\e[2J\\u202e": 2\nc: "' + "x" * 5000 + '"\n' + STACK)
    assert all(line.isprintable() for line in lines)
    assert max(map(len, lines)) < 220  # the list of all keys at the top


def test_shapes_that_do_not_fit_are_named_with_the_line_of_the_layer(load):
    sweep = load(
        "architectures:\n- [64]\n- name: late\n  layers:\n  - 64\n  - {Conv2D: {filters: 3, kernel_size: 3}}\n"
        "- {name: huge, layers: [1000000, 1000000]}\n"
    )
    with pytest.raises(SweepError) as caught:
        check_shapes(sweep, (28, 28), 10, memory_limit_bytes=2**30)
    late, _, huge, _ = str(caught.value).split("\n")
    assert late.startswith(
        "architectures.yaml:6: Conv2D needs an image of height x width x channels, but gets a vector"
    )
    assert late.endswith("(architecture 'late')")
    assert huge.startswith(
        "architectures.yaml:7: 1,000,796,000,010 parameters need about 14,913.0 GiB to train with adam"
    )
    with pytest.raises(SweepError, match="late"):
        check_shapes(sweep, (28, 28), 10)
