"""What earlier versions left under `logs/<sweep>/`, and what a journal that somebody deleted knew of."""

from fmnist_mlp.files import below
from fmnist_mlp.logs.events import EVENTS, is_whole, read_text
from fmnist_mlp.results.store import Results
from fmnist_mlp.results.views import Views

# Says which trial a folder shows, and whether it is in training, done or failed; as today, at another place.
MARKER, IN_TRAINING = ".trial", "training"

# What only the parent wrote, by the ends of the names.
_KINDS = (".session", ".architecture", ".sweep", ".curves")


def take_over(views: Views, results: Results) -> None:
    """Make room in a folder without a journal: what is surely ours is removed.

    That is what is linked to a record, and by its name and form what only the parent writes. What the training of an
    interrupted trial left is not: it gets another name.
    """
    results.drop_links(views.folder)
    for path in below(views.folder, EVENTS):
        if path.suffix in _KINDS and is_whole(path):
            path.unlink()
    for marker in below(views.folder, MARKER):
        words = (read_text(marker) or "").split()
        if len(words) in (2, 3) and len(words[0]) == 64:
            live = [path for part in ("train", "validation") for path in (marker.parent / part).glob(EVENTS)]
            for path in live if words[1] == IN_TRAINING else ():
                views.set_aside(path.relative_to(views.folder).as_posix())
            marker.unlink()
